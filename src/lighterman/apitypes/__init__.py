"""The wire: one Struct per definition of the API, with its names, and no rules.

Used by module (`apitypes.container`, ...). How lenient decoding is (null, keys in any case, a text where
a list belongs) is the business of `api/decode.py`, not of the Structs.
"""

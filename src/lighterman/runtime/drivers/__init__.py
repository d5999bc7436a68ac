"""Log drivers that send: to syslog, journald, gelf, fluentd, splunk, and files that may be slow.

They live in the helper process of a monitor (`runtime.shipper`), one per container, and may block there.
`driver.Driver` says what each of them does; the form of their messages are pure functions.
"""

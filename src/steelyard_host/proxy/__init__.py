"""The proxies before engines: the local one and the gateway's HAProxy."""

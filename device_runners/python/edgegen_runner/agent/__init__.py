"""The agent: what the host asks a device for, beside making images.

It comes and goes with the host's connection and needs a plain Python 3.9, no numpy and no runtime.
The host sends requests, one JSON object a line, and gets one answer a line; raw bytes follow the
line that announces them. When standard input closes, or the host is silent for too long, it ends,
and with it the lock that it holds.
"""

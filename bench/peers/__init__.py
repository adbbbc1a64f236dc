"""The peers: each with the measured jobs declared in its own way, and a client of its own.

They run in the environment of `bench/requirements.lock` and import nothing of ours but `bench`.
"""

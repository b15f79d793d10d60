"""How Redis is reached: one server, the master that Sentinel names, or a cluster, as ``REDIS_URL`` says.

Clients are made here and nowhere else. Whoever sends commands over connections of its own, for speed or because it
watches keys, takes them from :mod:`redisaccess.links`.
"""

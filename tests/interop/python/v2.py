"""What programs in Python did with etcd's v2 API every day, by python-etcd, against one member in clear.

    v2.py HOST PORT

The last line is `ok`. Without arguments it ends at once, if it has its library.
"""

import sys
import threading

import etcd

if len(sys.argv) == 1:
    sys.exit()

host, port = sys.argv[1], int(sys.argv[2])
client = etcd.Client(host=host, port=port, allow_reconnect=True)

# Keys.
assert client.write("/greeting", "hello").newKey
assert client.read("/greeting").value == "hello"
client.write("/greeting", "again", prevValue="hello")
try:
    client.write("/greeting", "never", prevValue="hello")
    raise AssertionError("it was swapped")
except etcd.EtcdCompareFailed:
    pass
client.test_and_set("/greeting", "third", "again")
result = client.get("/greeting")
result.value = "fourth"
client.update(result)
assert client.get("/greeting").value == "fourth"
try:
    client.write("/greeting", "x", prevExist=False)
    raise AssertionError("it was created")
except etcd.EtcdAlreadyExist:
    pass
assert "/greeting" in client
client.delete("/greeting")
assert "/greeting" not in client
try:
    client.read("/greeting")
    raise AssertionError("it is there")
except etcd.EtcdKeyNotFound:
    pass

# Directories, and keys in order.
client.write("/dir", None, dir=True)
for value in ("a", "b"):
    client.write("/dir/queue", value, append=True)
children = [child.value for child in client.read("/dir/queue", recursive=True, sorted=True).children]
assert children == ["a", "b"], children
try:
    client.delete("/dir", dir=True)
    raise AssertionError("it was empty")
except etcd.EtcdDirNotEmpty:
    pass
client.delete("/dir", recursive=True, dir=True)

# A TTL, renewed.
client.write("/short", "x", ttl=60)
assert 0 < client.read("/short").ttl <= 60
client.refresh("/short", ttl=120)
assert 60 < client.read("/short").ttl <= 120

# Watching: what comes, and what was.
index = client.write("/watched", "0").modifiedIndex
heard = []
watcher = threading.Thread(target=lambda: heard.append(client.watch("/watched", index=index + 1, timeout=20)))
watcher.start()
client.write("/watched", "1")
watcher.join(30)
assert heard[0].value == "1" and heard[0].action == "set", heard
assert client.watch("/watched", index=index).value == "0"

# The cluster, and a lock.
assert client.machines and client.leader["name"] and client.stats["state"] == "StateLeader"
assert client.store_stats["setsSuccess"] > 0 and client.members
lock = etcd.Lock(client, "everyday")
assert lock.acquire(blocking=True, lock_ttl=30) and lock.is_acquired
lock.release()
print("ok")

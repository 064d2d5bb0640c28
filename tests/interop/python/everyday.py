"""What programs in Python do with etcd every day, by etcd3 (gRPC) and etcd3gw (JSON), against a cluster of three with TLS.

    python everyday.py ENDPOINTS CACERT CERT KEY

The last line is `ok`.
"""

import os
import sys
import tempfile
import threading

# etcd3's generated code is older than the other implementation.
os.environ.setdefault("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", "python")
# requests would rather believe these than what a session is told.
for bundle in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
    os.environ.pop(bundle, None)

import etcd3  # noqa: E402
import etcd3gw  # noqa: E402


def over_grpc(host, port, cacert, cert, key):
    client = etcd3.client(host=host, port=port, ca_cert=cacert, cert_cert=cert, cert_key=key)
    client.put("a", "1")
    client.put("ab", "2")
    assert client.get("a")[0] == b"1"
    assert [(value, meta.key) for value, meta in client.get_prefix("a")] == [(b"1", b"a"), (b"2", b"ab")]

    lease = client.lease(30)
    client.put("leased", "x", lease=lease)
    assert lease.granted_ttl == 30 and lease.refresh()[0].TTL == 30
    lease.revoke()
    assert client.get("leased") == (None, None)

    events, cancel = client.watch("w")
    changing = threading.Thread(target=lambda: (client.put("w", "1"), client.delete("w")))
    changing.start()
    assert [type(next(events)).__name__ for _ in range(2)] == ["PutEvent", "DeleteEvent"]
    changing.join()
    cancel()

    swapped, answers = client.transaction(
        compare=[client.transactions.value("a") == "1"],
        success=[client.transactions.put("a", "2"), client.transactions.get("a")],
        failure=[],
    )
    assert swapped and answers[1][0][0] == b"2"
    assert client.replace("a", "2", "3") and not client.replace("a", "2", "4")
    with client.lock("lock", ttl=20) as lock:
        assert lock.is_acquired()

    assert client.status().version.startswith("3.")
    assert len(list(client.members)) == 3 and list(client.list_alarms()) == []
    client.compact(3)
    client.defragment()
    try:
        events, cancel = client.watch("a", start_revision=1)
        next(events)
        raise AssertionError("revision 1 is compacted")
    except etcd3.exceptions.RevisionCompactedError as compacted:
        assert compacted.compacted_revision == 3
    with tempfile.TemporaryFile() as copy:
        client.snapshot(copy)
        # Pages, and a SHA-256 behind them.
        assert copy.tell() % 512 == 32


def over_json(host, port, cacert, cert, key):
    client = etcd3gw.client(host=host, port=port, protocol="https", ca_cert=cacert, cert_cert=cert, cert_key=key)
    assert client.put("g", "1") and client.get("g") == [b"1"]
    lease = client.lease(ttl=40)
    assert lease.refresh() == 40 and lease.keys() == []
    lease.revoke()
    assert client.create("new", "v") and not client.create("new", "v")
    assert client.replace("new", "v", "w") and client.delete("new")
    lock = client.lock("gateway's", ttl=20)
    assert lock.acquire() and lock.is_acquired() and lock.release()
    events, cancel = client.watch("gw")
    client.put("gw", "1")
    assert next(events)["kv"]["value"] == b"1"
    cancel()


if __name__ == "__main__" and len(sys.argv) > 1:
    files = sys.argv[2:]
    addresses = [endpoint.split(":") for endpoint in sys.argv[1].split(",")]
    # Each speaks with one member, and not with the same one.
    over_grpc(addresses[0][0], int(addresses[0][1]), *files)
    print("over gRPC")
    over_json(addresses[1][0], int(addresses[1][1]), *files)
    print("over JSON")
    print("ok")

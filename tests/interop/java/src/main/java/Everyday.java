import static java.nio.charset.StandardCharsets.UTF_8;

import io.etcd.jetcd.ByteSequence;
import io.etcd.jetcd.Client;
import io.etcd.jetcd.Election;
import io.etcd.jetcd.KeyValue;
import io.etcd.jetcd.Watch;
import io.etcd.jetcd.election.LeaderKey;
import io.etcd.jetcd.election.LeaderResponse;
import io.etcd.jetcd.kv.GetResponse;
import io.etcd.jetcd.kv.TxnResponse;
import io.etcd.jetcd.lease.LeaseKeepAliveResponse;
import io.etcd.jetcd.op.Cmp;
import io.etcd.jetcd.op.CmpTarget;
import io.etcd.jetcd.op.Op;
import io.etcd.jetcd.options.DeleteOption;
import io.etcd.jetcd.options.GetOption;
import io.etcd.jetcd.options.LeaseOption;
import io.etcd.jetcd.options.PutOption;
import io.etcd.jetcd.options.WatchOption;
import io.etcd.jetcd.support.CloseableClient;
import io.etcd.jetcd.watch.WatchEvent;
import io.etcd.jetcd.watch.WatchResponse;
import io.grpc.stub.StreamObserver;
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.stream.Collectors;

/**
 * What programs in Java do with etcd every day, by jetcd, against a cluster of three with TLS.
 *
 * <p>{@code java -cp ... Everyday ENDPOINTS CACERT CERT KEY}; the last line is {@code ok}.
 */
public final class Everyday {
    private interface Step {
        void run(Client client) throws Exception;
    }

    private interface Settle {
        void run() throws Exception;
    }

    private static final long PATIENCE_SECONDS = 60;

    public static void main(String[] words) throws Exception {
        List<String> endpoints =
                Arrays.stream(words[0].split(",")).map(each -> "https://" + each).collect(Collectors.toList());
        try (Client client = connect(endpoints, words)) {
            step("keys", Everyday::keys, client);
            step("transactions", Everyday::transactions, client);
            Settle settle = () -> settle(endpoints, words);
            step("watches", each -> watches(each, settle), client);
            step("leases", each -> leases(each, settle), client);
            step("locks", Everyday::locks, client);
            step("elections", Everyday::elections, client);
            step("cluster", each -> cluster(each, endpoints), client);
        }
        List<String> some = new ArrayList<>(List.of("https://127.0.0.1:1"));
        some.addAll(endpoints);
        try (Client client = connect(some, words)) {
            step("a dead endpoint", Everyday::keys, client);
        }
        System.out.println("ok");
        // The client's threads are not waited for.
        System.exit(0);
    }

    private static Client connect(List<String> endpoints, String[] words) throws Exception {
        return Client.builder()
                .endpoints(endpoints.toArray(new String[0]))
                .sslContext(tls -> tls.trustManager(new File(words[1])).keyManager(new File(words[2]), new File(words[3])))
                .build();
    }

    /** Returns when every member has applied all that was answered before. */
    private static void settle(List<String> endpoints, String[] words) throws Exception {
        for (String endpoint : endpoints) {
            try (Client one = connect(List.of(endpoint), words)) {
                soon(one.getKVClient().get(bytes("settled")));
            }
        }
    }

    private static void step(String name, Step step, Client client) throws Exception {
        step.run(client);
        System.out.println(name);
    }

    private static void keys(Client client) throws Exception {
        var kv = client.getKVClient();
        long first = soon(kv.put(bytes("a"), bytes("1"))).getHeader().getRevision();
        soon(kv.put(bytes("ab"), bytes("2")));
        equal(pairs(soon(kv.get(bytes("a"), GetOption.builder().isPrefix(true).build()))), "a=1 ab=2");
        var before = soon(kv.put(bytes("a"), bytes("3"), PutOption.builder().withPrevKV().build()));
        equal(text(before.getPrevKv().getValue()), "1");
        equal(pairs(soon(kv.get(bytes("a"), GetOption.builder().withRevision(first).build()))), "a=1");
        var newestFirst = GetOption.builder()
                .isPrefix(true)
                .withSortField(GetOption.SortTarget.MOD)
                .withSortOrder(GetOption.SortOrder.DESCEND)
                .withLimit(1)
                .build();
        GetResponse page = soon(kv.get(bytes("a"), newestFirst));
        equal(pairs(page), "a=3");
        that(page.isMore() && page.getCount() == 2, "one of two: " + page);
        var counted = GetOption.builder().isPrefix(true).withCountOnly(true).build();
        equal(soon(kv.get(bytes("a"), counted)).getCount(), 2L);
        var all = DeleteOption.builder().isPrefix(true).withPrevKV(true).build();
        equal(soon(kv.delete(bytes("a"), all)).getPrevKvs().size(), 2);
    }

    private static void transactions(Client client) throws Exception {
        var kv = client.getKVClient();
        soon(kv.put(bytes("t"), bytes("1")));
        TxnResponse done = swap(client, "1", "2");
        that(done.isSucceeded(), "the value was 1");
        equal(text(done.getGetResponses().get(0).getKvs().get(0).getValue()), "2");
        TxnResponse refused = swap(client, "1", "3");
        that(!refused.isSucceeded(), "the value was 2");
        equal(text(refused.getGetResponses().get(0).getKvs().get(0).getValue()), "2");
    }

    private static TxnResponse swap(Client client, String from, String to) throws Exception {
        var read = Op.get(bytes("t"), GetOption.DEFAULT);
        return soon(client.getKVClient()
                .txn()
                .If(new Cmp(bytes("t"), Cmp.Op.EQUAL, CmpTarget.value(bytes(from))))
                .Then(Op.put(bytes("t"), bytes(to), PutOption.DEFAULT), read)
                .Else(read)
                .commit());
    }

    private static void watches(Client client, Settle settle) throws Exception {
        var kv = client.getKVClient();
        BlockingQueue<String> heard = new LinkedBlockingQueue<>();
        var option = WatchOption.builder().isPrefix(true).withPrevKV(true).withCreateNotify(true).build();
        long first;
        try (Watch.Watcher watcher = client.getWatchClient().watch(bytes("w"), option, hearing(heard))) {
            equal(next(heard), "created");
            first = soon(kv.put(bytes("w"), bytes("1"))).getHeader().getRevision();
            soon(kv.put(bytes("w"), bytes("2")));
            soon(kv.delete(bytes("w")));
            equal(next(heard), "PUT w=1 before ");
            equal(next(heard), "PUT w=2 before 1");
            equal(next(heard), "DELETE w= before 2");
        }
        var past = WatchOption.builder().withRevision(first).build();
        try (Watch.Watcher watcher = client.getWatchClient().watch(bytes("w"), past, hearing(heard))) {
            equal(next(heard), "PUT w=1 before ");
        }
        long now = soon(kv.put(bytes("w"), bytes("3"))).getHeader().getRevision();
        soon(kv.compact(now));
        settle.run();
        BlockingQueue<String> refused = new LinkedBlockingQueue<>();
        try (Watch.Watcher watcher = client.getWatchClient().watch(bytes("w"), past, hearing(refused))) {
            that(next(refused).contains("required revision has been compacted"), "revision " + first + " is gone");
        }
    }

    private static Watch.Listener hearing(BlockingQueue<String> heard) {
        return Watch.listener(
                response -> {
                    if (response.isCreatedNotify()) {
                        heard.add("created");
                    }
                    response.getEvents().forEach(event -> heard.add(told(event)));
                },
                failure -> heard.add(failure.toString()));
    }

    private static String told(WatchEvent event) {
        KeyValue now = event.getKeyValue();
        String before = text(event.getPrevKV().getValue());
        return event.getEventType() + " " + text(now.getKey()) + "=" + text(now.getValue()) + " before " + before;
    }

    private static void leases(Client client, Settle settle) throws Exception {
        var leases = client.getLeaseClient();
        var kv = client.getKVClient();
        long slow = soon(leases.grant(60)).getID();
        soon(kv.put(bytes("leased"), bytes("x"), PutOption.builder().withLeaseId(slow).build()));
        settle.run();
        var attached = LeaseOption.builder().withAttachedKeys().build();
        equal(soon(leases.timeToLive(slow, attached)).getKeys().size(), 1);
        long id = soon(leases.grant(5)).getID();
        equal(soon(leases.keepAliveOnce(id)).getTTL(), 5L);
        soon(kv.put(bytes("leased"), bytes("x"), PutOption.builder().withLeaseId(id).build()));
        BlockingQueue<String> kept = new LinkedBlockingQueue<>();
        try (CloseableClient keeping = leases.keepAlive(id, keeping(kept))) {
            // Longer than it lives by itself.
            for (int answers = 0; answers < 4; answers++) {
                equal(next(kept), "5");
            }
            equal(soon(kv.get(bytes("leased"))).getCount(), 1L);
        }
        soon(leases.revoke(id));
        equal(soon(kv.get(bytes("leased"))).getCount(), 0L);
        fails(leases.revoke(id), "requested lease not found");
    }

    private static StreamObserver<LeaseKeepAliveResponse> keeping(BlockingQueue<String> kept) {
        return new StreamObserver<>() {
            @Override
            public void onNext(LeaseKeepAliveResponse response) {
                kept.add(Long.toString(response.getTTL()));
            }

            @Override
            public void onError(Throwable failure) {
                kept.add(failure.toString());
            }

            @Override
            public void onCompleted() {
                kept.add("completed");
            }
        };
    }

    private static void locks(Client client) throws Exception {
        var locks = client.getLockClient();
        long one = soon(client.getLeaseClient().grant(30)).getID();
        long two = soon(client.getLeaseClient().grant(30)).getID();
        ByteSequence held = soon(locks.lock(bytes("lock"), one)).getKey();
        that(text(held).startsWith("lock/"), text(held));
        var wanted = locks.lock(bytes("lock"), two);
        try {
            wanted.get(200, TimeUnit.MILLISECONDS);
            throw new AssertionError("two hold it");
        } catch (TimeoutException expected) {
            soon(locks.unlock(held));
        }
        soon(locks.unlock(soon(wanted).getKey()));
        soon(client.getLeaseClient().revoke(one));
        soon(client.getLeaseClient().revoke(two));
    }

    private static void elections(Client client) throws Exception {
        Election elections = client.getElectionClient();
        ByteSequence name = bytes("election");
        fails(elections.leader(name), "NoLeaderException");
        BlockingQueue<String> observed = new LinkedBlockingQueue<>();
        elections.observe(name, observing(observed));
        long one = soon(client.getLeaseClient().grant(30)).getID();
        long two = soon(client.getLeaseClient().grant(30)).getID();
        LeaderKey first = soon(elections.campaign(name, one, bytes("first"))).getLeader();
        equal(next(observed), "first");
        var wanted = elections.campaign(name, two, bytes("second"));
        soon(elections.proclaim(first, bytes("first, again")));
        equal(next(observed), "first, again");
        soon(elections.resign(first));
        LeaderKey second = soon(wanted).getLeader();
        equal(next(observed), "second");
        equal(text(soon(elections.leader(name)).getKv().getValue()), "second");
        soon(elections.resign(second));
    }

    private static Election.Listener observing(BlockingQueue<String> observed) {
        return new Election.Listener() {
            @Override
            public void onNext(LeaderResponse response) {
                observed.add(text(response.getKv().getValue()));
            }

            @Override
            public void onError(Throwable failure) {
                observed.add(failure.toString());
            }

            @Override
            public void onCompleted() {
                observed.add("completed");
            }
        };
    }

    private static void cluster(Client client, List<String> endpoints) throws Exception {
        equal(soon(client.getClusterClient().listMember()).getMembers().size(), 3);
        var maintenance = client.getMaintenanceClient();
        for (String endpoint : endpoints) {
            that(soon(maintenance.statusMember(endpoint)).getVersion().startsWith("3."), endpoint);
            soon(maintenance.defragmentMember(endpoint));
        }
        equal(soon(maintenance.listAlarms()).getAlarms().size(), 0);
        var saved = new ByteArrayOutputStream();
        soon(maintenance.snapshot(saved));
        // Pages, and a SHA-256 behind them.
        equal(saved.size() % 512, 32);
    }

    private static ByteSequence bytes(String text) {
        return ByteSequence.from(text, UTF_8);
    }

    private static String text(ByteSequence bytes) {
        return bytes.toString(UTF_8);
    }

    private static String pairs(GetResponse response) {
        return response.getKvs().stream()
                .map(kv -> text(kv.getKey()) + "=" + text(kv.getValue()))
                .collect(Collectors.joining(" "));
    }

    private static <T> T soon(CompletableFuture<T> future) throws Exception {
        return future.get(PATIENCE_SECONDS, TimeUnit.SECONDS);
    }

    private static String next(BlockingQueue<String> heard) throws Exception {
        String text = heard.poll(PATIENCE_SECONDS, TimeUnit.SECONDS);
        that(text != null, "nothing was heard");
        return text;
    }

    private static void fails(CompletableFuture<?> future, String text) throws Exception {
        try {
            soon(future);
        } catch (ExecutionException failure) {
            that(failure.toString().contains(text), failure.toString());
            return;
        }
        throw new AssertionError("expected " + text);
    }

    private static void equal(Object found, Object expected) {
        that(Objects.equals(found, expected), "found " + found + ", expected " + expected);
    }

    private static void that(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }
}

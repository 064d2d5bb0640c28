// What programs in JavaScript do with etcd every day, by etcd3, against a cluster of three with TLS.
//
//     node everyday.js ENDPOINTS CACERT CERT KEY
//
// The last line is `ok`.
'use strict';

const assert = require('node:assert/strict');
const { once } = require('node:events');
const { readFileSync } = require('node:fs');
const { setTimeout: sleep } = require('node:timers/promises');
const { EtcdLockFailedError, Etcd3 } = require('etcd3');

const [endpoints, cacert, cert, key] = process.argv.slice(2);
const credentials = {
  rootCertificate: readFileSync(cacert),
  certChain: readFileSync(cert),
  privateKey: readFileSync(key),
};
const hosts = endpoints.split(',').map((endpoint) => `https://${endpoint}`);

async function keys(client) {
  await client.put('a').value('1');
  await client.put('ab').value(2);
  assert.equal(await client.get('a').string(), '1');
  assert.equal(await client.get('ab').number(), 2);
  assert.equal(await client.get('nothing').string(), null);
  assert.deepEqual(await client.getAll().prefix('a').strings(), { a: '1', ab: '2' });
  assert.deepEqual(await client.getAll().prefix('a').sort('Key', 'Descend').limit(1).keys(), ['ab']);
  assert.equal(await client.getAll().prefix('a').count(), 2);
  const first = (await client.put('a').value('3').getPrevious()).value.toString();
  assert.equal(first, '1');
  assert.equal((await client.delete().key('ab')).deleted, '1');
  assert.equal(await client.get('ab').exists(), false);

  const inside = client.namespace('inside/');
  await inside.put('x').value('y');
  assert.equal(await client.get('inside/x').string(), 'y');
}

async function transactions(client) {
  const swap = (from, to) =>
    client.if('a', 'Value', '==', from).then(client.put('a').value(to)).else(client.get('a')).commit();
  assert.equal((await swap('3', '4')).succeeded, true);
  const refused = await swap('3', '5');
  assert.equal(refused.succeeded, false);
  assert.equal(refused.responses[0].response_range.kvs[0].value.toString(), '4');

  await client.put('sum').value('0');
  const add = () =>
    client.stm({ retries: 100 }).transact(async (tx) => {
      await tx.put('sum').value(1 + (await tx.get('sum').number()));
    });
  await Promise.all(Array.from({ length: 8 }, add));
  assert.equal(await client.get('sum').number(), 8);
}

async function watches(client) {
  const watcher = await client.watch().prefix('w').create();
  const heard = [];
  const all = new Promise((resolve) => {
    const hear = (what) => (kv) => {
      heard.push(`${what} ${kv.key} ${kv.value}`);
      if (heard.length === 3) resolve();
    };
    watcher.on('put', hear('put')).on('delete', hear('delete'));
  });
  const before = await client.put('w').value('1');
  await client.put('w1').value('2');
  await client.delete().key('w');
  await all;
  assert.deepEqual(heard, ['put w 1', 'put w1 2', 'delete w ']);
  await watcher.cancel();

  const again = await client.watch().key('w').startRevision(before.header.revision).create();
  const [past] = await once(again, 'put');
  assert.equal(past.value.toString(), '1');
  await again.cancel();
}

async function leases(client) {
  const lease = client.lease(5);
  await lease.put('leased').value('x');
  // Longer than it lives by itself.
  for (let answers = 0; answers < 4; answers += 1) {
    await once(lease, 'keepaliveSucceeded');
  }
  assert.equal(await client.get('leased').string(), 'x');
  await lease.revoke();
  assert.equal(await client.get('leased').string(), null);

  const lost = client.lease(60);
  const loss = once(lost, 'lost');
  await client.leaseClient.leaseRevoke({ ID: await lost.grant() });
  let isLost = false;
  loss.then(() => (isLost = true));
  // Whoever leads may be the last to know that it is revoked.
  while (!isLost) {
    await lost.keepaliveOnce().catch(() => {});
    await sleep(50);
  }
}

async function locks(client) {
  const lock = await client.lock('lock').ttl(20).acquire();
  await assert.rejects(client.lock('lock').ttl(20).acquire(), EtcdLockFailedError);
  await lock.release();
  assert.equal(await client.lock('lock').do(async () => 'held'), 'held');
}

async function elections(client) {
  const election = client.election('election', 20);
  const first = election.campaign('first');
  await once(first, 'elected');
  assert.equal(await election.leader(), 'first');
  const observer = await election.observe();
  const second = client.election('election', 20).campaign('second');
  const elected = once(second, 'elected');
  await first.resign();
  await elected;
  while (observer.leader() !== 'second') {
    await once(observer, 'change');
  }
  await second.proclaim('second, again');
  assert.equal(await election.leader(), 'second, again');
  await observer.cancel();
  await second.resign();
}

async function cluster(client) {
  assert.equal((await client.cluster.memberList({})).members.length, 3);
  assert.match((await client.maintenance.status()).version, /^3\./);
  assert.deepEqual((await client.maintenance.alarm({ action: 'Get' })).alarms, []);
  const { header } = await client.put('compacted').value('x');
  await client.kv.compact({ revision: header.revision });
  await assert.rejects(client.get('a').revision('1').string(), /required revision has been compacted/);
  // One of them is dead.
  const some = new Etcd3({ hosts: ['https://127.0.0.1:1', ...hosts], credentials });
  for (let round = 0; round < 6; round += 1) {
    await some.put('endpoint').value(round);
  }
  some.close();
}

async function main() {
  const client = new Etcd3({ hosts, credentials });
  for (const step of [keys, transactions, watches, leases, locks, elections, cluster]) {
    await step(client);
    console.log(step.name);
  }
  client.close();
  console.log('ok');
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});

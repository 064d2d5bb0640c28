// What programs in JavaScript did with etcd's v2 API every day, by node-etcd, against one member in clear.
//
//     node v2.js URL
//
// The last line is `ok`. Without arguments it ends at once, if it has its library.
'use strict';

const assert = require('node:assert/strict');
const { promisify } = require('node:util');
const Etcd = require('node-etcd');

if (process.argv.length === 2) process.exit();
const etcd = new Etcd(process.argv[2]);
const call = (name) => promisify((...words) => etcd[name](...words));
const [get, set, del, create, mkdir, rmdir] = ['get', 'set', 'del', 'create', 'mkdir', 'rmdir'].map(call);
const [compareAndSwap, compareAndDelete, selfStats] = ['compareAndSwap', 'compareAndDelete', 'selfStats'].map(call);

async function fails(promise, code) {
  await assert.rejects(promise, (error) => error.errorCode === code);
}

async function keys() {
  assert.equal((await set('/greeting', 'hello')).action, 'set');
  assert.equal((await get('/greeting')).node.value, 'hello');
  await compareAndSwap('/greeting', 'again', 'hello');
  await fails(compareAndSwap('/greeting', 'never', 'hello'), 101);
  await fails(compareAndDelete('/greeting', 'hello'), 101);
  await compareAndDelete('/greeting', 'again');
  await fails(get('/greeting'), 100);
  await set('/short', 'x', { ttl: 60 });
  assert.ok((await get('/short')).node.ttl > 0);
  await del('/short');
}

async function directories() {
  await mkdir('/dir');
  await create('/dir/queue', 'a');
  await create('/dir/queue', 'b');
  const { node } = await get('/dir/queue', { recursive: true, sorted: true });
  assert.deepEqual(node.nodes.map((child) => child.value), ['a', 'b']);
  await fails(rmdir('/dir'), 108);
  await rmdir('/dir', { recursive: true });
}

async function watching() {
  const { node } = await set('/watched', '0');
  const heard = [];
  const watcher = etcd.watcher('/watched', node.modifiedIndex);
  const enough = new Promise((resolve) => {
    watcher.on('change', (event) => heard.push(event.node.value) === 3 && resolve());
  });
  await set('/watched', '1');
  await set('/watched', '2');
  await enough;
  watcher.stop();
  assert.deepEqual(heard, ['0', '1', '2']);
}

(async () => {
  await keys();
  await directories();
  await watching();
  assert.ok((await selfStats()).state === 'StateLeader');
  console.log('ok');
  process.exit(0);
})().catch((error) => {
  console.error(error);
  process.exit(1);
});

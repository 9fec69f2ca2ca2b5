import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { namespaces } from '../../../shared/kinds/namespace.ts';
import { decodeMessage, encodeMessage, isControl, protocolVersion, type Message, type Payload } from '../../../shared/protocol.ts';
import type { HubOptions } from '../../../master/hub/hub.ts';
import { LinkedCluster } from '../../fakes/cluster-link.ts';
import { makeLink } from '../../fakes/link.ts';

const test = suite('hub: pods\' tokens');
const request = (id: number): Payload<'token'> => ({ id, namespace: 'default', pod: 'p', uid: 'u', audience: '', seconds: 3607 });

async function greeted(options: Partial<HubOptions>) {
  const cluster = new LinkedCluster();
  for (const name of ['default', 'kube-node-lease']) await cluster.registry.create(namespaces, '', { metadata: { name } });
  await cluster.startMaster(options);
  const { ends: [agent, master] } = makeLink({ clock: cluster.clock });
  const heard: Message<'master'>[] = [];
  cluster.hub.accept('n1', master);
  agent.listen({ frame: (bytes) => { if (isControl(bytes)) heard.push(decodeMessage(bytes, 'master')); }, end: () => {} });
  agent.send(encodeMessage('hello', { protocol: protocolVersion, agentVersion: 't', node: 'n1', bootId: 'b', epoch: '', revision: 0 }));
  await cluster.clock.pass(100);
  const all = (name: string): unknown[] => heard.filter((message) => message.name === name).map(({ payload }) => payload);
  return { cluster, agent, all };
}

test('each request is answered, for the session\'s node, with the token or the reason', async () => {
  const asked: unknown[] = [];
  const { cluster, agent, all } = await greeted({
    podToken: async (node, { id }) => { asked.push([node, id]); if (id === 2) throw new Error('no such account'); return `token-${id}`; },
  });
  assert.is((all('welcome')[0] as { tokens?: boolean }).tokens, true);
  for (const id of [1, 2, 3]) agent.send(encodeMessage('token', request(id)));
  await cluster.clock.pass(100);
  assert.equal(asked, [['n1', 1], ['n1', 2], ['n1', 3]]);
  assert.equal(all('podToken'), [{ id: 1, token: 'token-1' }, { id: 3, token: 'token-3' }]);
  assert.equal(all('noPodToken'), [{ id: 2, reason: 'no such account' }]);
});

test('who asks for more than can be made is not listened to for a while', async () => {
  const answers: (() => void)[] = [];
  const { cluster, agent, all } = await greeted({ podToken: () => new Promise((resolve) => { answers.push(() => resolve('t')); }) });
  for (let id = 1; id <= 30; id++) { agent.send(encodeMessage('token', request(id))); await cluster.clock.pass(1); }
  await cluster.clock.pass(100);
  assert.ok(answers.length < 30, `${answers.length} at a time`);
  for (let served = 0; served < 30;) {
    const before = answers.length;
    for (; served < before; served++) answers[served]!();
    await cluster.clock.pass(100);
  }
  assert.is(all('podToken').length, 30);
});

test('a master without tokens says so, and an agent that asks all the same breaks the protocol', async () => {
  const { cluster, agent, all } = await greeted({});
  assert.is((all('welcome')[0] as { tokens?: boolean }).tokens, undefined);
  agent.send(encodeMessage('token', request(1)));
  await cluster.clock.pass(100);
  assert.match(JSON.stringify(all('bye')), /this master makes no tokens/);
});

test.run();

import { generateKeyPairSync, sign } from 'node:crypto';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { renewalText } from '../../../shared/enrolment.ts';
import { namespaces } from '../../../shared/kinds/namespace.ts';
import { nodes } from '../../../shared/kinds/node.ts';
import { decodeMessage, encodeMessage, isControl, protocolVersion, type Message } from '../../../shared/protocol.ts';
import type { HubOptions } from '../../../master/hub/hub.ts';
import { LinkedCluster, nodeOf } from '../../fakes/cluster-link.ts';
import { makeLink } from '../../fakes/link.ts';

const test = suite('hub: renewal and revocation');

/** A master, and the bare socket of an agent of node n1 that has said hello. */
async function greeted(options: Partial<HubOptions>) {
  const cluster = new LinkedCluster();
  for (const name of ['default', 'kube-node-lease']) await cluster.registry.create(namespaces, '', { metadata: { name } });
  await cluster.startMaster(options);
  const { ends: [agent, master] } = makeLink({ clock: cluster.clock });
  const heard: Message<'master'>[] = [];
  let over = false;
  cluster.hub.accept('n1', master);
  agent.listen({ frame: (bytes) => { if (isControl(bytes)) heard.push(decodeMessage(bytes, 'master')); }, end: () => { over = true; } });
  agent.send(encodeMessage('hello', { protocol: protocolVersion, agentVersion: 't', node: 'n1', bootId: 'b', epoch: '', revision: 0 }));
  await cluster.clock.pass(100);
  const payloadOf = (name: string): unknown => heard.find((message) => message.name === name)?.payload;
  return { cluster, agent, heard, payloadOf, over: () => over, names: () => heard.map(({ name }) => name) };
}

function renewal(node: string): { publicKey: string; proof: string } {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256', privateKeyEncoding: { type: 'pkcs8', format: 'pem' }, publicKeyEncoding: { type: 'spki', format: 'pem' } });
  return { publicKey, proof: sign('sha256', Buffer.from(renewalText(node)), privateKey).toString('base64') };
}

const enroller = (renew: (node: string) => Promise<{ certificate: string; ca: string }>): HubOptions['enroller'] =>
  ({ ca: '', enrol: () => Promise.reject(new Error('not here')), renew });

test('a renewal is for the session\'s own node, with a proof for it, one at a time and not too often', async () => {
  const asked: string[] = [];
  let answer: (value: { certificate: string; ca: string }) => void = () => {};
  const { cluster, agent, payloadOf, heard, names, over } = await greeted({ enroller: enroller((node) => { asked.push(node); return new Promise((resolve) => { answer = resolve; }); }) });
  assert.is((payloadOf('welcome') as { renews?: boolean }).renews, true);
  const { clock } = cluster;
  agent.send(encodeMessage('renew', renewal('n2')));
  await clock.pass(2000);
  assert.match(JSON.stringify(payloadOf('notRenewed')), /not signed by the key in it/);
  assert.equal(asked, [], 'a proof for another node is none');
  agent.send(encodeMessage('renew', renewal('n1')));
  await clock.pass(10);
  answer({ certificate: 'c', ca: 'a' });
  await clock.pass(10);
  assert.equal([asked, payloadOf('certificate')], [['n1'], { certificate: 'c', ca: 'a' }]);
  agent.send(encodeMessage('renew', renewal('n1')));
  await clock.pass(10);
  assert.match(JSON.stringify(heard.at(-1)), /too soon after another/);
  await clock.pass(2000);
  for (let i = 0; i < 2; i++) agent.send(encodeMessage('renew', renewal('n1')));
  await clock.pass(100);
  assert.match(JSON.stringify(payloadOf('bye')), /renew while another is under way/);
  answer({ certificate: 'late', ca: 'a' });
  await clock.pass(10_000, over);
  assert.is(names().filter((name) => name === 'certificate').length, 1, 'nothing is said after bye');
  await cluster.stopMaster();
});

test('a master without renewal does not say that it has one', async () => {
  const { cluster, agent, payloadOf } = await greeted({});
  assert.is((payloadOf('welcome') as { renews?: boolean }).renews, undefined);
  agent.send(encodeMessage('renew', renewal('n1')));
  await cluster.clock.pass(100);
  assert.match(JSON.stringify(payloadOf('bye')), /renews no certificates/);
  await cluster.stopMaster();
});

test('a node that is not admitted is told so and writes nothing; one that is deleted is out at once', async () => {
  const stranger = await greeted({ admits: () => false });
  assert.equal(stranger.names(), ['bye']);
  assert.equal(stranger.payloadOf('bye'), { reason: 'node "n1" was deleted from the cluster', retry: false });
  await stranger.cluster.stopMaster();

  let admitted = true;
  const { cluster, agent, payloadOf, over } = await greeted({ admits: () => admitted });
  const { registry, clock } = cluster;
  agent.send(encodeMessage('node', { seq: 1, node: nodeOf('n1') }));
  assert.ok(await clock.pass(1000, () => registry.find(nodes, '', 'n1') !== undefined));
  admitted = false;
  await registry.delete(nodes, '', 'n1');
  // What it says at the same moment must not make the Node again.
  agent.send(encodeMessage('node', { seq: 2, node: nodeOf('n1', { labels: { again: 'yes' } }) }));
  assert.ok(await clock.pass(1000, () => payloadOf('bye') !== undefined));
  assert.is((payloadOf('bye') as { retry: boolean }).retry, false);
  assert.ok(await clock.pass(10_000, over));
  assert.is(registry.find(nodes, '', 'n1'), undefined);
  await cluster.stopMaster();
});

test.run();

/**
 * A node without an engine for `streams.relay`: the real session, and the real service proxy with one listener whose only
 * backend is taken to be out of direct reach. `relay-node.js SERVER TOKEN DIRECTORY PORT SLICE ADDRESS:PORT`; prints `ready`.
 */
import { Credentials } from '../agent/credentials.ts';
import { enrol } from '../agent/enrol.ts';
import { createProxy } from '../agent/net/proxy.ts';
import { Reach } from '../agent/net/reach.ts';
import { chooseTcpEngine } from '../agent/net/tcp.ts';
import { Session } from '../agent/session.ts';
import { systemClock as clock } from '../shared/clock.ts';
import { createLog } from '../shared/log.ts';
import { MemoryState } from '../test/fakes/memory-state.ts';

const [server = '', token = '', directory = '', port = '', slice = '', target = ''] = process.argv.slice(2);
const name = 'bench-near';
const log = createLog({ component: name, level: 'warn' });
const random = Math.random;
const { signal } = new AbortController();

const identity = await enrol({ directory, server, token, nodeName: name, clock, random, log }, signal);
if (!identity) throw new Error('not enrolled');
const credentials = new Credentials({ identity, directory, servers: [server], token, clock, random, log });
const session = new Session({
  node: name, agentVersion: 'bench', bootId: 'bench', state: new MemoryState(), clock, random, log, connect: (stop) => credentials.connect(stop), onWelcome: () => {},
  async *openStream() { throw new Error('nothing is served here'); },
});
const relays = {
  reach: new Reach({ clock, nodeName: name, isInside: () => true }),
  linked: () => session.relays, open: (wish: Parameters<typeof session.relay>[0]) => session.relay(wish),
};
const proxy = createProxy({ clock, log, random, tcp: await chooseTcpEngine({ clock, log }), relays });
void session.run(signal);
void proxy.run(signal);
while (!session.relays) await new Promise((resolve) => { setTimeout(resolve, 50); });
const [address = '', targetPort = ''] = target.split(':');
proxy.apply([{
  protocol: 'TCP', address: '127.0.0.1', port: Number(port), service: 'default/source:tcp', affinitySeconds: 0,
  backends: [{ address, port: Number(targetPort), nodeName: 'bench', slice }],
}]);
await proxy.settled();
process.stdout.write('ready\n');

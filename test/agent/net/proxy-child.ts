import { systemClock } from '../../../shared/clock.ts';
import { silentLog } from '../../../shared/log.ts';
import { createProxy } from '../../../agent/net/proxy.ts';
import { createPortableEngine } from '../../../agent/net/tcp-portable.ts';
import { createRawEngine } from '../../../agent/net/tcp-raw.ts';

/**
 * A proxy in a process of its own, for tests of its limits: `proxy-child ENGINE PORT BACKEND-PORT`. It forwards
 * 127.0.1.1:PORT to 127.0.2.1:BACKEND-PORT and prints `ready`, then `problem CODE` for each problem.
 */
const [engine, port, backendPort] = process.argv.slice(2);
const proxy = createProxy({
  clock: systemClock, log: silentLog, random: Math.random, maxDescriptors: Infinity,
  tcp: engine === 'raw' ? createRawEngine(systemClock) : createPortableEngine(),
  onProblem: (_, error) => { process.stdout.write(`problem ${error.code}\n`); },
});
proxy.apply([{
  protocol: 'TCP', address: '127.0.1.1', port: Number(port), service: 'default/web:http', affinitySeconds: 0,
  backends: [{ address: '127.0.2.1', port: Number(backendPort) }],
}]);
await proxy.settled();
process.stdout.write('ready\n');
const stop = new AbortController();
process.once('SIGTERM', () => stop.abort());
await proxy.run(stop.signal);

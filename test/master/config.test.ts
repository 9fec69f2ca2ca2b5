import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { ConfigError, readMasterConfig } from '../../master/config.ts';
import { listenFailure } from '../../master/listen-failure.ts';

const test = suite('master config');

const refusal = (options: object): string => {
  try {
    readMasterConfig(options);
  } catch (error) {
    assert.instance(error, ConfigError);
    return (error as Error).message;
  }
  throw new Error('nothing was thrown');
};

test('values as the command line gives them: numbers and text', () => {
  const { port, nodeMonitorGraceMs, eventTtlMs, offlineWindowMs } = readMasterConfig({ port: 7000, nodeMonitorGracePeriod: 12.5, eventTtl: '60', offlineWindow: 0 });
  assert.equal([port, nodeMonitorGraceMs, eventTtlMs, offlineWindowMs], [7000, 12_500, 60_000, 0]);
  assert.equal([readMasterConfig({}).port, readMasterConfig({}).nodeMonitorGraceMs, readMasterConfig({}).eventTtlMs], [6443, 40_000, 3_600_000]);
});

test('what cannot be is shown as it was given, with what can', () => {
  assert.is(refusal({ port: 'abc' }), '--port: must be a port number, not "abc"');
  assert.is(refusal({ port: 70_000 }), '--port: must be a port number, not "70000"');
  assert.is(refusal({ port: false }), '--port: needs a value');
  assert.is(refusal({ eventTtl: 'x' }), '--event-ttl: must be a number of seconds, not "x"');
  assert.is(refusal({ nodeMonitorGracePeriod: 0 }), '--node-monitor-grace-period: must be at least 1 second, not "0"');
  assert.is(refusal({ nodePortRange: 5 }), '--node-port-range: must be a range such as 30000-32767, not "5"');
  assert.is(refusal({ serviceCidr: 5 }), '--service-cidr: must be an IPv4 network such as 10.96.0.0/16, not "5"');
  assert.is(refusal({ nodeCertTtl: 'x' }), '--node-cert-ttl: must be a duration of at least 5s, such as 365d or 12h, not "x"');
  assert.is(refusal({ dataDir: ['a', 'b'] }), '--data-dir: is given more than once');
});

test('services and pods have addresses of their own', () => {
  assert.is(refusal({ clusterCidr: '10.96.0.0/12' }), '--service-cidr: 10.96.0.0/16 and --cluster-cidr 10.96.0.0/12 overlap; services and pods need addresses of their own');
  assert.match(refusal({ serviceCidr: '10.244.7.0/24' }), /overlap/);
  assert.is(readMasterConfig({ clusterCidr: '10.97.0.0/16' }).clusterCidr.text, '10.97.0.0/16');
  assert.is(readMasterConfig({ clusterCidr: '10.128.0.0/9' }).clusterCidr.text, '10.128.0.0/9');
});

test('an address that cannot be listened on is told with what to do', () => {
  const of = (code: string) => listenFailure({ bindAddress: '192.0.2.1', port: 443 }, Object.assign(new Error(code), { code })).message;
  assert.is(of('EADDRINUSE'), 'port 443 of 192.0.2.1 is taken by another program: end that, or choose another port with --port');
  assert.is(of('EACCES'), 'no permission to listen on port 443 of 192.0.2.1: ports below 1024 need root; choose another with --port, or run it as root');
  assert.is(of('EADDRNOTAVAIL'), '192.0.2.1 is no address of this host: name one that is with --bind-address, or 0.0.0.0 for all');
  assert.is(of('EOTHER'), 'EOTHER');
});

test.run();

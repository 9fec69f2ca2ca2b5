import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { containerHash, containerOptions, sandboxOptions } from '../../../agent/runtime/docker-spec.ts';
import { oomScoreAdjust, qosClass } from '../../../agent/runtime/qos.ts';
import { podOf } from '../../fakes/pod.ts';

const test = suite('docker-spec');
const host = (container: object, spec: object = {}, imageUser = '', more: object = {}) => {
  const pod = podOf('p', { containers: [{ name: 'a', image: 'a:1', ...container }], ...spec });
  return containerOptions({
    pod, container: pod.spec.containers[0]!, owner: 'o', attempt: 2, backoffMs: 10_000, sandboxId: 'box', sandboxStartMs: 0, image: 'sha256:1', imageUser, env: ['A=b'],
    command: undefined, args: ['x'], mounts: [], messageFile: '/m', nodeMemoryBytes: 2 ** 30, oomFloor: -1000, ...more,
  });
};
const box = (spec: object) => sandboxOptions({ pod: podOf('p', { containers: [{ name: 'a', image: 'a:1' }], ...spec }), owner: 'o', image: 'pause', attempt: 0, hostname: 'p', oomFloor: -1000 });

test('a container joins its sandbox and says whose it is', () => {
  const made = host({});
  assert.is(made.HostConfig.NetworkMode, 'container:box');
  assert.is(made.HostConfig.IpcMode, 'container:box');
  assert.equal(made.Cmd, ['x']);
  assert.not.ok('Entrypoint' in made);
  assert.equal(made.Labels, {
    'io.wherry.owner': 'o', 'io.kubernetes.pod.namespace': 'default', 'io.kubernetes.pod.name': 'p', 'io.kubernetes.pod.uid': 'uid-p', 'io.kubernetes.container.name': 'a',
    'io.kubernetes.sandbox.id': 'box', 'io.wherry.restart-count': '2', 'io.wherry.backoff-ms': '10000', 'io.wherry.hash': containerHash({ name: 'a', image: 'a:1' }), 'io.wherry.termination-message': '/m',
  });
  assert.equal(made.HostConfig.Mounts, [{ Type: 'bind', Source: '/m', Target: '/dev/termination-log', ReadOnly: false }]);
});

test('processes', () => {
  assert.is(host({}).HostConfig.PidsLimit, undefined);
  assert.is(host({}, {}, '', { pidsLimit: 64 }).HostConfig.PidsLimit, 64);
});

test('resources', () => {
  const { CpuShares, CpuQuota, CpuPeriod, Memory, MemorySwap, OomScoreAdj } = host({ resources: { limits: { cpu: '250m', memory: '64Mi' }, requests: { cpu: '100m', memory: '64Mi' } } }).HostConfig;
  assert.equal([CpuShares, CpuQuota, CpuPeriod, Memory, MemorySwap, OomScoreAdj], [102, 25_000, 100_000, 67_108_864, 67_108_864, 937]);
  assert.equal([host({}).HostConfig.CpuShares, host({}).HostConfig.OomScoreAdj], [2, 1000]);
});

test('privileges', () => {
  const made = host({
    securityContext: { runAsUser: 7, readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: { add: ['NET_ADMIN'], drop: ['ALL'] }, seccompProfile: { type: 'Unconfined' }, procMount: 'Unmasked' },
  }, { securityContext: { runAsUser: 1, runAsGroup: 2, fsGroup: 3, supplementalGroups: [4] } });
  assert.is(made.User, '7:2');
  const { ReadonlyRootfs, CapAdd, CapDrop, SecurityOpt, GroupAdd, MaskedPaths } = made.HostConfig;
  assert.equal({ ReadonlyRootfs, CapAdd, CapDrop, SecurityOpt, GroupAdd, MaskedPaths }, {
    ReadonlyRootfs: true, CapAdd: ['NET_ADMIN'], CapDrop: ['ALL'], SecurityOpt: ['no-new-privileges', 'seccomp=unconfined'], GroupAdd: ['4', '3'], MaskedPaths: [],
  });
  assert.is(host({ securityContext: { runAsGroup: 5 } }, {}, 'web:web').User, 'web:5');
  assert.not.ok('User' in host({}));
});

test('the sandbox has ports, name and namespaces', () => {
  const made = box({ containers: [{ name: 'a', image: 'a:1', ports: [{ containerPort: 80, hostPort: 8080 }, { containerPort: 81 }, { containerPort: 53, hostPort: 53, hostIP: '127.0.0.1', protocol: 'UDP' }] }] });
  assert.is(made.Hostname, 'p');
  assert.equal(made.HostConfig.PortBindings, { '80/tcp': [{ HostIp: '', HostPort: '8080' }], '53/udp': [{ HostIp: '127.0.0.1', HostPort: '53' }] });
  assert.equal([made.HostConfig.NetworkMode, made.HostConfig.IpcMode], ['bridge', 'shareable']);
});

test('a runtime class is a runtime of the engine, for the sandbox and its containers', () => {
  const annotations = { 'wherry.io/runtime-handler': 'gvisor' };
  const pod = { ...podOf('p', { runtimeClassName: 'safe', containers: [{ name: 'a', image: 'a:1' }] }) };
  pod.metadata = { ...pod.metadata, annotations };
  assert.is(sandboxOptions({ pod, owner: 'o', image: 'pause', attempt: 0, hostname: 'p', oomFloor: -1000 }).HostConfig.Runtime, 'gvisor');
  assert.not.ok('Runtime' in box({}).HostConfig);
  assert.throws(() => box({ runtimeClassName: 'safe' }), /^runtimeclass.node.k8s.io "safe" not found$/);
  const forged = podOf('p', { containers: [{ name: 'a', image: 'a:1' }] });
  assert.not.ok('Runtime' in sandboxOptions({ pod: { ...forged, metadata: { ...forged.metadata, annotations } }, owner: 'o', image: 'pause', attempt: 0, hostname: 'p', oomFloor: -1000 }).HostConfig);
});

test('namespaces of the host', () => {
  const made = box({ hostNetwork: true, hostPID: true, hostIPC: true });
  assert.equal([made.HostConfig.NetworkMode, made.HostConfig.IpcMode, made.HostConfig.PidMode, made.Hostname], ['host', 'host', 'host', undefined]);
  assert.is(host({}, { shareProcessNamespace: true }).HostConfig.PidMode, 'container:box');
});

test('quality of service', () => {
  const of = (...resources: object[]) => qosClass(podOf('p', { containers: resources.map((r, i) => ({ name: `c${i}`, image: 'a:1', resources: r })) }).spec);
  assert.is(of({}), 'BestEffort');
  assert.is(of({ limits: { cpu: '1', memory: '1Gi' } }), 'Guaranteed');
  assert.is(of({ limits: { cpu: '1', memory: '1Gi' }, requests: { cpu: '1000m', memory: '1024Mi' } }), 'Guaranteed');
  assert.is(of({ limits: { cpu: '1', memory: '1Gi' } }, {}), 'Burstable');
  assert.is(of({ requests: { cpu: '1' } }), 'Burstable');
  assert.is(of({ limits: { cpu: '1', memory: '1Gi' }, requests: { cpu: '0', memory: '1Gi' } }), 'Burstable');
  assert.is(of({ requests: { cpu: '0' } }), 'BestEffort');
});

test('who goes first when the machine is out of memory', () => {
  const score = (spec: object, at = 0) => { const { spec: made } = podOf('p', spec); return oomScoreAdjust(made, [...made.containers, ...made.initContainers ?? []][at]!, 2 ** 30); };
  const asks = (name: string, memory?: string, more: object = {}) => ({ name, image: 'a:1', ...(memory ? { resources: { requests: { memory } } } : {}), ...more });
  assert.equal(['1Ki', '256Mi', '1023Mi', '2Gi'].map((memory) => score({ containers: [asks('a', memory)] })), [999, 750, 3, 3]);
  assert.equal([score({ containers: [asks('a', '256Mi'), asks('b')] }, 1), score({ containers: [asks('a')] })], [999, 1000]);
  assert.is(score({ containers: [{ name: 'a', image: 'a:1', resources: { limits: { cpu: '1', memory: '1Gi' } } }] }), -997);
  assert.is(score({ containers: [asks('a')], priorityClassName: 'system-node-critical' }), -997);
  const sidecar = asks('s', undefined, { restartPolicy: 'Always' });
  assert.is(score({ containers: [asks('a', '512Mi'), asks('b', '256Mi')], initContainers: [sidecar] }, 2), 750, 'a sidecar no sooner than those whom it serves');
});

test.run();

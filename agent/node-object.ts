import type { Node, NodeCondition } from '../shared/kinds/node.ts';
import { formatBytes, fromMilli } from '../shared/quantity.ts';
import { toTime } from '../shared/time.ts';
import type { MachineFacts } from './node-facts.ts';
import { keptBack, type PressureType, type Threshold } from './pods/thresholds.ts';
import type { ImageDetails, RuntimeInfo } from './runtime/runtime.ts';

/** What of a node is not for pods, as the kubelet's flags say it. */
export interface Allotment {
  /** Amounts by resource: what the system and the agent take. CPUs and bytes. */
  readonly reserved: ReadonlyMap<string, number>;
  /** Hard thresholds of memory and disk are kept free as well. */
  readonly thresholds: readonly Threshold[];
}

export interface NodeInput {
  readonly name: string;
  readonly kubeletVersion: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly maxPods: number;
  readonly ips: readonly string[];
  readonly machine: MachineFacts;
  /** Undefined while the engine does not answer. */
  readonly engine: RuntimeInfo | undefined;
  readonly engineError: string;
  readonly images: readonly ImageDetails[];
  readonly pressures: readonly PressureType[];
  /** Size of the engine's disk. */
  readonly diskBytes: number;
  readonly allotment?: Allotment;
  /** Why the agent cannot write its state, if it cannot. */
  readonly trouble?: string | undefined;
  /** Where pods are: `''` while they have the network that they should have, or why not; undefined without one of their own. */
  readonly network?: string | undefined;
  /** Last reported; transition times live on from it. */
  readonly previous: Node | undefined;
  readonly now: number;
}

const maxImages = 50;

/** A host as a Node object, worded as the kubelet's setters word it (pkg/kubelet/nodestatus). Pure. */
export function nodeObject(input: NodeInput): Node {
  const { name, machine, maxPods, diskBytes } = input;
  const capacity = resources(machine.cpus, machine.memoryBytes, diskBytes, maxPods);
  const allocatable = allocatableOf(input);
  return {
    apiVersion: 'v1', kind: 'Node',
    metadata: { name, labels: { ...labelsOf(name, machine), ...input.labels } },
    spec: {},
    status: {
      capacity, allocatable, conditions: conditions(input),
      addresses: [...input.ips.map((address) => ({ type: 'InternalIP', address })), { type: 'Hostname', address: name }],
      daemonEndpoints: {},
      nodeInfo: {
        machineID: machine.machineId, systemUUID: machine.systemUuid, bootID: machine.bootId, kernelVersion: machine.kernelVersion,
        osImage: machine.osImage, containerRuntimeVersion: input.engine ? `docker://${input.engine.version}` : input.previous?.status.nodeInfo?.containerRuntimeVersion ?? 'docker://unknown',
        kubeletVersion: input.kubeletVersion, kubeProxyVersion: input.kubeletVersion, operatingSystem: 'linux', architecture: machine.architecture,
      },
      images: imagesOf(input.images),
    },
  };
}

function labelsOf(name: string, { architecture }: MachineFacts): Record<string, string> {
  return {
    'beta.kubernetes.io/arch': architecture, 'beta.kubernetes.io/os': 'linux',
    'kubernetes.io/arch': architecture, 'kubernetes.io/hostname': name, 'kubernetes.io/os': 'linux',
  };
}

const resources = (cpus: number, memoryBytes: number, diskBytes: number, pods: number): Record<string, string> => ({
  cpu: String(cpus), memory: formatKi(memoryBytes), 'ephemeral-storage': formatKi(diskBytes), pods: String(pods),
});

/** Capacity without what is reserved and what eviction would keep free. */
function allocatableOf({ machine: { cpus, memoryBytes }, maxPods, diskBytes, allotment }: NodeInput): Record<string, string> {
  const { reserved = new Map<string, number>(), thresholds = [] } = allotment ?? {};
  const kept = keptBack(thresholds, { memoryBytes, diskBytes });
  const left = (resource: string, capacity: number, held = 0): number => Math.max(0, capacity - (reserved.get(resource) ?? 0) - held);
  return {
    ...resources(0, left('memory', memoryBytes, kept.memoryBytes), left('ephemeral-storage', diskBytes, kept.diskBytes), maxPods),
    cpu: fromMilli(Math.round(left('cpu', cpus) * 1000)),
  };
}

const formatKi = (bytes: number): string => formatBytes(Math.floor(bytes / 1024) * 1024);

/** The largest first, as the scheduler's image locality cares for those most. */
function imagesOf(images: readonly ImageDetails[]): { names: string[]; sizeBytes: number }[] {
  return images.filter((image) => image.tags.length + image.digests.length > 0)
    .map((image) => ({ names: [...image.digests, ...image.tags].slice(0, 5), sizeBytes: image.sizeBytes }))
    .sort((a, b) => b.sizeBytes - a.sizeBytes || ((a.names[0] ?? '') < (b.names[0] ?? '') ? -1 : 1))
    .slice(0, maxImages);
}

function conditions({ pressures, trouble, network, engine, engineError, previous, now }: NodeInput): NodeCondition[] {
  const before = new Map(previous?.status.conditions?.map((condition) => [condition.type, condition]));
  const condition = (type: string, status: boolean, reason: string, message: string): NodeCondition => {
    const old = before.get(type);
    const text = status ? 'True' : 'False';
    const since = old?.status === text ? old.lastTransitionTime : undefined;
    return { type, status: text, lastTransitionTime: since ?? toTime(now), reason, message };
  };
  return [
    pressures.includes('MemoryPressure') ? condition('MemoryPressure', true, 'KubeletHasInsufficientMemory', 'kubelet has insufficient memory available')
      : condition('MemoryPressure', false, 'KubeletHasSufficientMemory', 'kubelet has sufficient memory available'),
    trouble !== undefined ? condition('DiskPressure', true, 'AgentStateNotWritable', `the agent cannot write its state and takes on nothing new: ${trouble}`)
      : pressures.includes('DiskPressure') ? condition('DiskPressure', true, 'KubeletHasDiskPressure', 'kubelet has disk pressure')
      : condition('DiskPressure', false, 'KubeletHasNoDiskPressure', 'kubelet has no disk pressure'),
    pressures.includes('PIDPressure') ? condition('PIDPressure', true, 'KubeletHasInsufficientPID', 'kubelet has insufficient PID available')
      : condition('PIDPressure', false, 'KubeletHasSufficientPID', 'kubelet has sufficient PID available'),
    ...(network === undefined ? [] : [condition('NetworkUnavailable', false, network === '' ? 'PodNetworkReady' : 'EngineBridge', network || 'pods have addresses of the cluster')]),
    engine ? condition('Ready', true, 'KubeletReady', 'kubelet is posting ready status')
      : condition('Ready', false, 'KubeletNotReady', engineError),
  ];
}

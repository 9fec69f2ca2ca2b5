import type { Node } from '../../shared/kinds/node.ts';
import type { Pod } from '../../shared/kinds/pod.ts';

/** What simulated agents say of themselves; the seed stores the same, as after a long run. */

export const nodeName = (index: number): string => `edge-${String(index).padStart(5, '0')}`;

const since = '2026-01-01T00:00:00Z';

export function nodeReport(index: number): Node {
  const name = nodeName(index);
  const condition = (type: string, status: string, reason: string) => ({ type, status, reason, message: '', lastHeartbeatTime: since, lastTransitionTime: since });
  const resources = { cpu: '4', memory: '8Gi', pods: '110', 'ephemeral-storage': '64Gi' };
  return {
    apiVersion: 'v1', kind: 'Node',
    metadata: { name, labels: { 'kubernetes.io/hostname': name, 'kubernetes.io/os': 'linux', 'kubernetes.io/arch': 'amd64' } },
    spec: {},
    status: {
      capacity: resources, allocatable: resources,
      conditions: [condition('MemoryPressure', 'False', 'KubeletHasSufficientMemory'), condition('DiskPressure', 'False', 'KubeletHasNoDiskPressure'), condition('PIDPressure', 'False', 'KubeletHasSufficientPID'), condition('Ready', 'True', 'KubeletReady')],
      addresses: [{ type: 'InternalIP', address: `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}` }, { type: 'Hostname', address: name }],
      daemonEndpoints: {},
      nodeInfo: {
        machineID: 'm', systemUUID: 's', bootID: 'b', kernelVersion: '6.1.0', osImage: 'Debian GNU/Linux 12', containerRuntimeVersion: 'docker://27.0.0',
        kubeletVersion: 'v1.32.0', kubeProxyVersion: 'v1.32.0', operatingSystem: 'linux', architecture: 'amd64',
      },
    },
  };
}

/** Pod `place` of a node, running. */
export function podStatus(index: number, place: number): Pod['status'] {
  const ip = `10.${128 + (index >> 8)}.${index & 255}.${place + 2}`;
  const condition = (type: string) => ({ type, status: 'True', lastTransitionTime: since });
  return {
    phase: 'Running', qosClass: 'Burstable', startTime: since, podIP: ip, podIPs: [{ ip }], hostIP: '10.0.0.1', hostIPs: [{ ip: '10.0.0.1' }],
    conditions: ['PodReadyToStartContainers', 'Initialized', 'Ready', 'ContainersReady', 'PodScheduled'].map(condition),
    containerStatuses: [{
      name: 'web', image: 'registry.example.com/web:1.2.3', imageID: 'sha256:0123456789abcdef', containerID: `docker://${String(index).padStart(32, '0')}${place}`,
      ready: true, started: true, restartCount: 0, state: { running: { startedAt: since } }, lastState: {},
    }],
  };
}

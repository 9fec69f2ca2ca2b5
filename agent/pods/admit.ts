import type { Container } from '../../shared/kinds/container.ts';
import type { Pod } from '../../shared/kinds/pod.ts';
import { meets } from '../../shared/node-selector.ts';
import { tolerates } from '../../shared/tolerations.ts';
import { amount } from '../runtime/amount.ts';
import { appArmorOf } from '../runtime/docker-spec.ts';
import type { Failure } from './ending.ts';
import type { NodeFacts } from './fields.ts';
import { isCritical } from './rank.ts';
import { qosClass } from '../runtime/qos.ts';
import { forbiddenSysctl } from '../runtime/sysctls.ts';

export interface AdmitInput {
  readonly pod: Pod;
  /** Pods that the node has taken on and that have not ended. */
  readonly others: readonly Pod[];
  readonly node: NodeFacts;
  /** Whether the kernel enforces AppArmor. */
  readonly appArmor: boolean;
  /** Names, or prefixes that end with an asterisk, of kernel parameters that pods may set beside the safe ones. */
  readonly unsafeSysctls: readonly string[];
  /** What the node lacks, as its conditions have it; nothing by default. */
  readonly pressures?: readonly string[];
}

/**
 * Why this node does not take a pod on, as the kubelet's admission has it. The scheduler sees to most of it; what
 * names its node itself, or was placed while others were, is caught here. Such a pod fails and is not tried again.
 */
export function admit(input: AdmitInput): Failure | undefined {
  const { pod, node } = input;
  const short = pressed(input);
  if (short) return short;
  const sysctl = forbiddenSysctl(pod, input.unsafeSysctls);
  if (sysctl) return { reason: 'SysctlForbidden', message: `forbidden sysctl: ${sysctl}` };
  const asked = pod.metadata.labels?.['kubernetes.io/os'];
  if (asked !== undefined && asked !== 'linux') return { reason: 'PodOSSelectorNodeLabelDoesNotMatch', message: 'Failed to admit pod as the `kubernetes.io/os` label doesn\'t match node label' };
  if (pod.spec.os && pod.spec.os.name !== 'linux') return { reason: 'PodOSNotSupported', message: 'Failed to admit pod as the OS field doesn\'t match node OS' };
  const predicate = (name: string): Failure => ({ reason: name, message: `Predicate ${name} failed` });
  const full = lacking(input);
  if (full) return full;
  if (!fitsLabels(pod, node)) return predicate('NodeAffinity');
  if (portTaken(input)) return predicate('NodePorts');
  // Taints of other effects are the scheduler's affair: a pod that names its node itself has passed it by.
  if (node.taints?.some((taint) => taint.effect === 'NoExecute' && !tolerates(pod.spec.tolerations, taint))) return predicate('TaintToleration');
  if (!input.appArmor && confined(pod)) return { reason: 'AppArmor', message: 'Cannot enforce AppArmor: AppArmor is not enabled on the host' };
  return undefined;
}

/** While something is short, only the system's pods are taken on, and those that ask for memory if that is all that is short. */
function pressed({ pod, pressures = [] }: AdmitInput): Failure | undefined {
  if (pressures.length === 0 || isCritical(pod)) return undefined;
  if (pressures.length === 1 && pressures[0] === 'MemoryPressure' && (qosClass(pod.spec) !== 'BestEffort' || tolerates(pod.spec.tolerations, memoryPressureTaint))) return undefined;
  return { reason: 'Evicted', message: `The node had condition: [${pressures.join(' ')}]. ` };
}

const memoryPressureTaint = { key: 'node.kubernetes.io/memory-pressure', effect: 'NoSchedule' } as const;

const containersOf = ({ spec }: Pod): Container[] => [...(spec.initContainers ?? []), ...spec.containers];

const confined = (pod: Pod): boolean => containersOf(pod).some((container) => !['', 'unconfined'].includes(appArmorOf(pod, container)));

/** In the units of the message: thousandths of a CPU, and wholes of anything else. */
const unit = (resource: string): number => (resource === 'cpu' ? 1000 : 1);

function lacking({ pod, others, node }: AdmitInput): Failure | undefined {
  for (const [resource, quantity] of Object.entries(node.allocatable ?? {})) {
    const capacity = Math.floor((amount(quantity) ?? 0) * unit(resource));
    const requested = requestOf(pod, resource);
    // A disk that was not looked at yet has no size.
    if (requested === 0 || (capacity === 0 && resource === 'ephemeral-storage')) continue;
    const used = others.reduce((sum, other) => sum + requestOf(other, resource), 0);
    if (used + requested <= capacity) continue;
    return { reason: `OutOf${resource}`, message: `Node didn't have enough resource: ${resource}, requested: ${requested}, used: ${used}, capacity: ${capacity}` };
  }
  return undefined;
}

/** What a pod asks for: its containers and sidecars together, or an init container with the sidecars before it if that is more. */
export function requestOf({ spec }: Pod, resource: string): number {
  if (resource === 'pods') return 1;
  const asked = ({ resources }: Container): number => Math.ceil((amount(resources?.requests?.[resource] ?? resources?.limits?.[resource]) ?? 0) * unit(resource));
  let sidecars = 0;
  let most = 0;
  for (const container of spec.initContainers ?? []) {
    if (container.restartPolicy === 'Always') sidecars += asked(container);
    most = Math.max(most, container.restartPolicy === 'Always' ? sidecars : sidecars + asked(container));
  }
  const together = spec.containers.reduce((sum, container) => sum + asked(container), sidecars);
  return Math.max(most, together) + Math.ceil((amount(spec.overhead?.[resource]) ?? 0) * unit(resource));
}

interface HostPort { readonly key: string; readonly ip: string }

const hostPorts = (pod: Pod): HostPort[] => containersOf(pod).flatMap((container) => (container.ports ?? []).flatMap(({ hostPort, protocol, hostIP }) =>
  (hostPort ? [{ key: `${protocol ?? 'TCP'}/${hostPort}`, ip: hostIP || '0.0.0.0' }] : [])));

function portTaken({ pod, others }: AdmitInput): boolean {
  const wanted = hostPorts(pod);
  if (wanted.length === 0) return false;
  const taken = others.flatMap(hostPorts);
  const everywhere = (ip: string): boolean => ip === '0.0.0.0' || ip === '::';
  return wanted.some((port) => taken.some((other) => other.key === port.key && (other.ip === port.ip || everywhere(port.ip) || everywhere(other.ip))));
}

/** Whether the node is one that the pod asks for, as far as the agent knows its labels. */
function fitsLabels({ spec }: Pod, node: NodeFacts): boolean {
  const known = { ...node.labels };
  const has = (key: string): boolean => node.labelsComplete === true || Object.hasOwn(known, key);
  if (Object.entries(spec.nodeSelector ?? {}).some(([key, value]) => has(key) && known[key] !== value)) return false;
  const terms = spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms;
  if (!terms) return true;
  // A term that says nothing means no node.
  return terms.some(({ matchExpressions = [], matchFields = [] }) => matchExpressions.length + matchFields.length > 0
    && matchExpressions.every((want) => !has(want.key) || meets(want, known[want.key])) && matchFields.every((want) => want.key !== 'metadata.name' || meets(want, node.name)));
}

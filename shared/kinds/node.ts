import { isIP } from 'node:net';
import type { InferOutput } from 'valibot';
import { defineKind, topLevel, type ObjectOf } from '../kind.ts';
import { labelValueErrors, qualifiedNameErrors } from '../names.ts';
import { anything, bool, dflt, int32, int64, list, listMap, obj, oneOf, opt, req, set, str, time } from '../schema.ts';
import { fieldDuplicate, fieldForbidden, fieldInvalid, type FieldError } from '../status.ts';
import { ageColumn, nameColumn } from './columns.ts';
import { ResourceList } from './resources.ts';

export const Taint = obj('core.v1.Taint', {
  key: req(str(), 'Key that tolerations refer to.'),
  value: opt(str(), 'Value that tolerations refer to.'),
  effect: req(oneOf('NoSchedule', 'PreferNoSchedule', 'NoExecute'), 'What happens to pods that do not tolerate it.'),
  timeAdded: opt(time(), 'When a NoExecute taint was added.'),
}, 'Keeps pods away from a node.');
export type Taint = InferOutput<typeof Taint>;

export const NodeSpec = obj('core.v1.NodeSpec', {
  podCIDR: opt(str(), 'Addresses of the node\'s pods.'),
  podCIDRs: opt(set(str()), 'Addresses of the node\'s pods, one range per family.'),
  providerID: opt(str(), 'Identity of the machine at its provider.'),
  unschedulable: opt(bool(), 'Whether new pods are kept away.'),
  taints: opt(list(Taint), 'What keeps pods away.'),
  configSource: opt(anything(), 'Deprecated; kept as given.'),
  externalID: opt(str(), 'Deprecated and unused.'),
}, 'What a node should be.');

export const NodeCondition = obj('core.v1.NodeCondition', {
  type: dflt(str(), '', 'Type, such as Ready.'),
  status: dflt(str(), '', 'True, False or Unknown.'),
  lastHeartbeatTime: opt(time(), 'When it was last reported.'),
  lastTransitionTime: opt(time(), 'When the status last changed.'),
  reason: opt(str(), 'Programmatic reason.'),
  message: opt(str(), 'Human-readable detail.'),
}, 'One aspect of the state of a node.');
export type NodeCondition = InferOutput<typeof NodeCondition>;

export const NodeAddress = obj('core.v1.NodeAddress', {
  type: dflt(str(), '', 'Hostname, InternalIP, ExternalIP, InternalDNS or ExternalDNS.'),
  address: dflt(str(), '', 'The address.'),
}, 'An address of a node.');
export type NodeAddress = InferOutput<typeof NodeAddress>;

const DaemonEndpoint = obj('core.v1.DaemonEndpoint', {
  Port: dflt(int32(), 0, 'Port number.'),
}, 'Port of a daemon.');

const NodeDaemonEndpoints = obj('core.v1.NodeDaemonEndpoints', {
  kubeletEndpoint: opt(DaemonEndpoint, 'Port of the agent.'),
}, 'Ports of a node\'s daemons.');

export const NodeSystemInfo = obj('core.v1.NodeSystemInfo', {
  machineID: dflt(str(), '', 'Machine ID of the node.'),
  systemUUID: dflt(str(), '', 'Hardware UUID of the node.'),
  bootID: dflt(str(), '', 'Changes with every boot.'),
  kernelVersion: dflt(str(), '', 'Kernel, as uname says.'),
  osImage: dflt(str(), '', 'Name of the distribution.'),
  containerRuntimeVersion: dflt(str(), '', 'Runtime, such as docker://27.0.'),
  kubeletVersion: dflt(str(), '', 'Version of the agent.'),
  kubeProxyVersion: dflt(str(), '', 'Deprecated.'),
  operatingSystem: dflt(str(), '', 'Such as linux.'),
  architecture: dflt(str(), '', 'Such as arm64.'),
}, 'Facts about the machine.');
export type NodeSystemInfo = InferOutput<typeof NodeSystemInfo>;

export const ContainerImage = obj('core.v1.ContainerImage', {
  names: opt(list(str()), 'Names by which it is known.'),
  sizeBytes: opt(int64(), 'Size in bytes.'),
}, 'An image that a node has.');

const AttachedVolume = obj('core.v1.AttachedVolume', {
  name: req(str(), 'Name of the volume.'),
  devicePath: req(str(), 'Device on the node.'),
}, 'A volume attached to a node.');

export const NodeStatus = obj('core.v1.NodeStatus', {
  capacity: opt(ResourceList, 'Resources of the machine.'),
  allocatable: opt(ResourceList, 'Resources for pods; the capacity by default.'),
  phase: opt(str(), 'Deprecated.'),
  conditions: opt(listMap(NodeCondition, 'type'), 'Aspects of the state.'),
  addresses: opt(listMap(NodeAddress, 'type'), 'Addresses of the node.'),
  daemonEndpoints: dflt(NodeDaemonEndpoints, {}, 'Ports of daemons.'),
  nodeInfo: opt(NodeSystemInfo, 'Facts about the machine.'),
  images: opt(list(ContainerImage), 'Images that it has.'),
  volumesInUse: opt(list(str()), 'Volumes in use.'),
  volumesAttached: opt(list(AttachedVolume), 'Volumes attached.'),
  config: opt(anything(), 'Deprecated; kept as given.'),
  runtimeHandlers: opt(list(anything()), 'Runtime handlers that it has.'),
  features: opt(anything(), 'Features of its runtime.'),
}, 'What is known of a node.');
export type NodeStatus = InferOutput<typeof NodeStatus>;

const NodeSchema = topLevel('core.v1.Node', {
  spec: dflt(NodeSpec, {}, 'What the node should be.'),
  status: dflt(NodeStatus, {}, 'What is known of it.'),
}, 'A machine that runs pods.');
export type Node = ObjectOf<typeof NodeSchema>;

function nodeStatusCell(node: Node): string {
  const ready = node.status.conditions?.find((condition) => condition.type === 'Ready');
  const status = ready ? (ready.status === 'True' ? 'Ready' : 'NotReady') : 'Unknown';
  return node.spec.unschedulable ? `${status},SchedulingDisabled` : status;
}

const roleLabel = 'node-role.kubernetes.io/';

/** Roles from `node-role.kubernetes.io/<role>` and `kubernetes.io/role=<role>` labels. */
function rolesCell(node: Node): string {
  const roles = new Set<string>();
  for (const [label, value] of Object.entries(node.metadata.labels ?? {})) {
    if (label.startsWith(roleLabel) && label.length > roleLabel.length) roles.add(label.slice(roleLabel.length));
    else if (label === 'kubernetes.io/role' && value) roles.add(value);
  }
  return [...roles].sort().join(',') || '<none>';
}

const address = (node: Node, type: string): string => node.status.addresses?.find((a) => a.type === type)?.address ?? '<none>';
const info = (node: Node, field: keyof NodeSystemInfo): string => node.status.nodeInfo?.[field] || '<unknown>';

/** A CIDR such as `10.0.0.0/24` or `fd00::/64`. */
function isCIDR(text: string): boolean {
  const [ip = '', bits = '', ...rest] = text.split('/');
  const family = isIP(ip);
  return rest.length === 0 && family !== 0 && /^\d{1,3}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128);
}

function validateNode(node: Node): FieldError[] {
  const errors: FieldError[] = [];
  const seen = new Set<string>();
  (node.spec.taints ?? []).forEach((taint, index) => {
    const path = `spec.taints[${index}]`;
    errors.push(...qualifiedNameErrors(taint.key).map((problem) => fieldInvalid(`${path}.key`, taint.key, problem)));
    errors.push(...labelValueErrors(taint.value ?? '').map((problem) => fieldInvalid(`${path}.value`, taint.value, problem)));
    const identity = `${taint.key}:${taint.effect}`;
    if (seen.has(identity)) errors.push({ ...fieldDuplicate(path, taint), message: `${fieldDuplicate(path, taint).message}: taints must be unique by key and effect pair` });
    seen.add(identity);
  });
  (node.spec.podCIDRs ?? []).forEach((cidr, index) => {
    if (!isCIDR(cidr)) errors.push(fieldInvalid(`spec.podCIDRs[${index}]`, cidr, 'must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)'));
  });
  return errors;
}

function validateNodeUpdate(node: Node, old: Node): FieldError[] {
  const errors: FieldError[] = [];
  const { podCIDRs = [], providerID = '' } = old.spec;
  if (podCIDRs.length > 0 && podCIDRs.join() !== (node.spec.podCIDRs ?? []).join()) {
    errors.push(fieldForbidden('spec.podCIDRs', 'node updates may not change podCIDR except from "" to valid'));
  }
  if (providerID && providerID !== (node.spec.providerID ?? '')) {
    errors.push(fieldForbidden('spec.providerID', 'node updates may not change providerID except from "" to valid'));
  }
  return errors;
}

function normalizeNode(node: Node): void {
  if (!node.status.allocatable && node.status.capacity) node.status.allocatable = { ...node.status.capacity };
  // The singular and plural fields say the same.
  if (node.spec.podCIDR && !node.spec.podCIDRs?.length) node.spec.podCIDRs = [node.spec.podCIDR];
  else if (node.spec.podCIDRs?.[0]) node.spec.podCIDR = node.spec.podCIDRs[0];
}

export const nodes = defineKind<Node>({
  group: '', version: 'v1', kind: 'Node', plural: 'nodes', shortNames: ['no'], namespaced: false, schema: NodeSchema,
  subresources: [{ name: 'proxy', kind: 'NodeProxyOptions', verbs: ['create', 'delete', 'get', 'patch', 'update'] }],
  status: true, statusOnCreate: true,
  selectableFields: { 'spec.unschedulable': (o) => String(o.spec.unschedulable ?? false) },
  normalize: normalizeNode,
  validate: validateNode,
  validateUpdate: validateNodeUpdate,
  validateStatus: validateNodeUpdate,
  columns: [
    nameColumn,
    { name: 'Status', type: 'string', description: 'Whether it is ready and takes pods.', cell: nodeStatusCell },
    { name: 'Roles', type: 'string', description: 'Roles, from labels.', cell: rolesCell },
    ageColumn,
    { name: 'Version', type: 'string', description: 'Version of the agent.', cell: (o) => o.status.nodeInfo?.kubeletVersion ?? '' },
    { name: 'Internal-IP', type: 'string', description: 'Address within the cluster.', priority: 1, cell: (o) => address(o, 'InternalIP') },
    { name: 'External-IP', type: 'string', description: 'Address from outside.', priority: 1, cell: (o) => address(o, 'ExternalIP') },
    { name: 'OS-Image', type: 'string', description: 'Name of the distribution.', priority: 1, cell: (o) => info(o, 'osImage') },
    { name: 'Kernel-Version', type: 'string', description: 'Kernel.', priority: 1, cell: (o) => info(o, 'kernelVersion') },
    { name: 'Container-Runtime', type: 'string', description: 'Runtime.', priority: 1, cell: (o) => info(o, 'containerRuntimeVersion') },
  ],
});

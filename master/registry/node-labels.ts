/** Labels in Kubernetes' own domains that an agent owns: set, changed and removed as it says (kubelet's default labels). */
export const ownLabels: ReadonlySet<string> = new Set([
  'kubernetes.io/hostname', 'kubernetes.io/os', 'kubernetes.io/arch', 'beta.kubernetes.io/os', 'beta.kubernetes.io/arch',
  'node.kubernetes.io/instance-type', 'topology.kubernetes.io/region', 'topology.kubernetes.io/zone',
]);
/** Domains under which an agent may label its own node, as the NodeRestriction plugin has it. */
const ownDomains = ['kubelet.kubernetes.io', 'node.kubernetes.io'];

/**
 * Whether a node may give itself a label. `node-restriction.kubernetes.io/…` and others of Kubernetes' domains are an
 * administrator's: with them a node could draw pods to itself that are meant for better guarded ones.
 */
export function mayLabelItself(label: string): boolean {
  const [domain = '', rest] = label.split('/');
  if (rest === undefined || ownLabels.has(label)) return true;
  const within = (parent: string): boolean => domain === parent || domain.endsWith(`.${parent}`);
  return ownDomains.some(within) || !(within('kubernetes.io') || within('k8s.io'));
}

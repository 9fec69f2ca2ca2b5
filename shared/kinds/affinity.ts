import type { InferOutput } from 'valibot';
import { LabelSelector } from '../meta.ts';
import { atomicObj, checked, int32, int64, list, obj, oneOf, opt, req, str } from '../schema.ts';

const weight = () => req(checked(int32(), (n) => n >= 1 && n <= 100, 'must be in the range 1-100'), 'Weight, 1 to 100.');

export const NodeSelectorRequirement = obj('core.v1.NodeSelectorRequirement', {
  key: req(str(), 'Label key or field.'),
  operator: req(oneOf('In', 'NotIn', 'Exists', 'DoesNotExist', 'Gt', 'Lt'), 'Relation of the key to the values.'),
  values: opt(list(str()), 'Values; one integer for Gt and Lt.'),
}, 'One requirement of a node selector.');
export type NodeSelectorRequirement = InferOutput<typeof NodeSelectorRequirement>;

export const NodeSelectorTerm = atomicObj('core.v1.NodeSelectorTerm', {
  matchExpressions: opt(list(NodeSelectorRequirement), 'Requirements on labels.'),
  matchFields: opt(list(NodeSelectorRequirement), 'Requirements on fields; only metadata.name.'),
}, 'Requirements that must all hold; an empty term matches nothing.');
export type NodeSelectorTerm = InferOutput<typeof NodeSelectorTerm>;

export const NodeSelector = atomicObj('core.v1.NodeSelector', {
  nodeSelectorTerms: req(list(NodeSelectorTerm), 'Terms of which one must match.'),
}, 'Selects nodes.');
export type NodeSelector = InferOutput<typeof NodeSelector>;

const PreferredSchedulingTerm = obj('core.v1.PreferredSchedulingTerm', {
  weight: weight(),
  preference: req(NodeSelectorTerm, 'Nodes that are preferred.'),
}, 'A weighted wish for nodes.');

const NodeAffinity = obj('core.v1.NodeAffinity', {
  requiredDuringSchedulingIgnoredDuringExecution: opt(NodeSelector, 'Nodes that the pod can run on.'),
  preferredDuringSchedulingIgnoredDuringExecution: opt(list(PreferredSchedulingTerm), 'Nodes that are preferred.'),
}, 'Attraction to nodes.');

export const PodAffinityTerm = obj('core.v1.PodAffinityTerm', {
  labelSelector: opt(LabelSelector, 'Pods that are meant; none if absent.'),
  namespaces: opt(list(str()), 'Namespaces of those pods; the pod\'s own by default.'),
  topologyKey: req(str(), 'Node label whose equal values mean the same place.'),
  namespaceSelector: opt(LabelSelector, 'Further namespaces, by label.'),
  matchLabelKeys: opt(list(str()), 'Labels of this pod that are added to the selector.'),
  mismatchLabelKeys: opt(list(str()), 'Labels of this pod that are added to the selector, negated.'),
}, 'Pods to be near to or away from.');
export type PodAffinityTerm = InferOutput<typeof PodAffinityTerm>;

export const WeightedPodAffinityTerm = obj('core.v1.WeightedPodAffinityTerm', {
  weight: weight(),
  podAffinityTerm: req(PodAffinityTerm, 'The pods.'),
}, 'A weighted wish for pods.');
export type WeightedPodAffinityTerm = InferOutput<typeof WeightedPodAffinityTerm>;

const podTerms = {
  requiredDuringSchedulingIgnoredDuringExecution: opt(list(PodAffinityTerm), 'Must hold.'),
  preferredDuringSchedulingIgnoredDuringExecution: opt(list(WeightedPodAffinityTerm), 'Should hold.'),
};
const PodAffinity = obj('core.v1.PodAffinity', podTerms, 'Attraction to pods.');
const PodAntiAffinity = obj('core.v1.PodAntiAffinity', podTerms, 'Aversion to pods.');

export const Affinity = obj('core.v1.Affinity', {
  nodeAffinity: opt(NodeAffinity, 'Attraction to nodes.'),
  podAffinity: opt(PodAffinity, 'Attraction to pods.'),
  podAntiAffinity: opt(PodAntiAffinity, 'Aversion to pods.'),
}, 'Wishes about where a pod runs.');
export type Affinity = InferOutput<typeof Affinity>;

export const Toleration = obj('core.v1.Toleration', {
  key: opt(str(), 'Taint key; empty with Exists for all.'),
  operator: opt(oneOf('Exists', 'Equal'), 'Relation of key and value; Equal by default.'),
  value: opt(str(), 'Taint value, with Equal.'),
  effect: opt(oneOf('NoSchedule', 'PreferNoSchedule', 'NoExecute'), 'Effect; all if empty.'),
  tolerationSeconds: opt(int64(), 'With NoExecute: how long the taint is tolerated; for ever if absent.'),
}, 'A taint that a pod puts up with.');
export type Toleration = InferOutput<typeof Toleration>;

export const TopologySpreadConstraint = obj('core.v1.TopologySpreadConstraint', {
  maxSkew: req(int32(), 'How uneven the spread may be.'),
  topologyKey: req(str(), 'Node label whose values are the places.'),
  whenUnsatisfiable: req(oneOf('DoNotSchedule', 'ScheduleAnyway'), 'What to do when the skew cannot be kept.'),
  labelSelector: opt(LabelSelector, 'Pods that are counted.'),
  minDomains: opt(int32(), 'Least number of places, with DoNotSchedule.'),
  nodeAffinityPolicy: opt(oneOf('Honor', 'Ignore'), 'Whether nodes outside the affinity count; Honor by default.'),
  nodeTaintsPolicy: opt(oneOf('Honor', 'Ignore'), 'Whether tainted nodes count; Ignore by default.'),
  matchLabelKeys: opt(list(str()), 'Labels of this pod that are added to the selector.'),
}, 'How pods spread over places.');
export type TopologySpreadConstraint = InferOutput<typeof TopologySpreadConstraint>;

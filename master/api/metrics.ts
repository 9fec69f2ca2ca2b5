import { nameColumn } from '../../shared/kinds/columns.ts';
import { nodes, type Node } from '../../shared/kinds/node.ts';
import { pods, type Pod } from '../../shared/kinds/pod.ts';
import { defineKind, topLevel, type Column, type Kind } from '../../shared/kind.ts';
import type { KubeObject } from '../../shared/meta.ts';
import { canonicalQuantity, formatBytes, parseQuantity } from '../../shared/quantity.ts';
import { list, map, obj, opt, quantity, str, time } from '../../shared/schema.ts';
import { notFound } from '../../shared/status.ts';
import { toTime } from '../../shared/time.ts';
import type { NodeUsage } from '../../shared/usage.ts';
import type { Registry } from '../registry/registry.ts';
import { sendBytes } from './answer.ts';
import { encoderOf } from './encode.ts';
import type { Item } from './encoder.ts';
import type { Exchange } from './exchange.ts';
import { noSuchMethod } from './kinds.ts';
import { negotiate } from './negotiate.ts';
import { listOptions } from './options.ts';
import { selectionOf } from './select.ts';
import { includeObject } from './table.ts';

/** What nodes use, by name; asked of them now. Those that do not answer are missing. `atMs`: since 1970. */
export interface UsageSource {
  of(nodes: Iterable<string>): Promise<ReadonlyMap<string, { readonly atMs: number; readonly usage: NodeUsage }>>;
}

export interface MetricsOptions {
  readonly registry: Registry;
  readonly usages: UsageSource;
  readonly now: () => number;
}

type Usage = Readonly<Record<'cpu' | 'memory', string>>;
interface NodeMetrics extends KubeObject { timestamp: string; window: string; usage: Usage }
interface PodMetrics extends KubeObject { timestamp: string; window: string; containers: { name: string; usage: Usage }[] }

const group = 'metrics.k8s.io';
const version = 'v1beta1';
const usageSchema = opt(map(quantity()), 'Usage of cpu and memory over the window.');
const measured = { timestamp: opt(time(), 'End of the window.'), window: opt(str(), 'Time over which usage was collected.') };

const column = (name: string, cell: (object: KubeObject) => string): Column<KubeObject> => ({ name, type: 'string', description: `${name} of the object.`, cell });
const columnsFor = (usage: (object: KubeObject, resource: 'cpu' | 'memory') => string): Column<KubeObject>[] => [
  nameColumn, column('cpu', (object) => usage(object, 'cpu')), column('memory', (object) => usage(object, 'memory')),
  column('window', (object) => (object as NodeMetrics).window),
];

const unstored = { group, version, verbs: ['get', 'list'] as const };

const nodeMetrics = defineKind({
  ...unstored, kind: 'NodeMetrics', plural: 'nodes', singular: '', namespaced: false,
  schema: topLevel('metrics.v1beta1.NodeMetrics', { ...measured, usage: usageSchema }, 'What a node uses.'),
  columns: columnsFor((object, resource) => (object as NodeMetrics).usage[resource]),
});

const podMetrics = defineKind({
  ...unstored, kind: 'PodMetrics', plural: 'pods', singular: '', namespaced: true,
  schema: topLevel('metrics.v1beta1.PodMetrics', {
    ...measured, containers: opt(list(obj('metrics.v1beta1.ContainerMetrics', { name: opt(str(), 'Name of the container.'), usage: usageSchema }, 'What a container uses.')), 'Of all running containers.'),
  }, 'What a pod uses.'),
  columns: columnsFor((object, resource) => sum((object as PodMetrics).containers.map(({ usage }) => usage[resource]), resource)),
});

/** Served, and measured when they are asked for. */
export const metricsKinds: readonly Kind[] = [nodeMetrics, podMetrics];

const sum = (amounts: readonly string[], resource: 'cpu' | 'memory'): string => {
  const all = amounts.reduce((so, text) => so + parseQuantity(text), 0);
  return resource === 'cpu' ? nanocores(Math.round(all * 1e9)) : wholeKi(all);
};

const nanocores = (amount: number): string => canonicalQuantity(`${amount}n`);
/** In whole ones: fewer digits, and nobody's memory is known any better. */
const wholeKi = (bytes: number): string => formatBytes(Math.floor(bytes / 1024) * 1024);
const windowText = (ms: number): string => `${Number((ms / 1000).toFixed(3))}s`;
const usageOf = (cpu: number, memory: number): Usage => ({ cpu: nanocores(cpu), memory: wholeKi(memory) });

/** Answers for metrics.k8s.io; false for other requests. @throws StatusError */
export function answerMetrics(x: Exchange, options: MetricsOptions | undefined): boolean | Promise<boolean> {
  const request = x.info.resource;
  if (!options || request?.group !== group || request.version !== version || request.subresource) return false;
  const kind = metricsKinds.find(({ plural, namespaced }) => plural === request.resource && (namespaced || !request.namespace));
  if (!kind) return false;
  const { verb } = x.info;
  if ((verb !== 'get' && verb !== 'list') || (verb === 'get' && kind.namespaced && !request.namespace)) throw noSuchMethod();
  return answer(x, kind, request.namespace, verb === 'get' ? request.name : '', options);
}

async function answer(x: Exchange, kind: Kind, namespace: string, name: string, options: MetricsOptions): Promise<true> {
  const representation = negotiate(x.header('accept'), true);
  const selection = selectionOf(kind, namespace, name, listOptions(x.query, false));
  const selects = (object: KubeObject): boolean => (!selection.name || object.metadata.name === selection.name) && (selection.everything || selection.matches(object));
  const found = kind === nodeMetrics ? await ofNodes(selects, options) : await ofPods(selection.namespace, selection.name, selects, options);
  const items = found.map((object): Item => ({ object, bytes: Buffer.from(JSON.stringify(object)) }));
  const encoder = encoderOf({ kind, representation: { ...representation, media: 'json' }, includeObject: includeObject(x.query), now: options.now });
  if (name) {
    const [item] = items;
    if (!item) throw notFound({ group, kind: kind.kind, plural: kind === nodeMetrics ? 'nodemetrics' : 'podmetrics' }, namespace ? `${namespace}/${name}` : name);
    sendBytes(x, 200, encoder.one(item));
    return true;
  }
  const pieces = items.flatMap((item, index) => (index > 0 ? [encoder.separator, encoder.item(item)] : [encoder.item(item)]));
  sendBytes(x, 200, Buffer.concat([encoder.open({ resourceVersion: '' }), ...pieces, encoder.close]));
  return true;
}

async function ofNodes(selects: (object: KubeObject) => boolean, { registry, usages, now }: MetricsOptions): Promise<NodeMetrics[]> {
  const wanted = registry.all<Node>(nodes).filter(selects);
  const found = await usages.of(wanted.map(({ metadata }) => metadata.name ?? ''));
  return wanted.flatMap((node) => {
    const of = found.get(node.metadata.name ?? '');
    if (!of) return [];
    return { ...headOf(nodeMetrics, node, now), timestamp: toTime(of.atMs), window: windowText(of.usage.windowMs), usage: usageOf(of.usage.cpu, of.usage.memory) };
  });
}

async function ofPods(namespace: string, name: string, selects: (object: KubeObject) => boolean, { registry, usages, now }: MetricsOptions): Promise<PodMetrics[]> {
  const all = namespace && name ? [registry.find<Pod>(pods, namespace, name)].flatMap((pod) => pod ?? []) : registry.all<Pod>(pods, namespace);
  const wanted = all.filter((pod) => pod.spec.nodeName && pod.status?.phase === 'Running' && selects(pod));
  const found = await usages.of(wanted.map(({ spec }) => spec.nodeName ?? ''));
  // By uid, of the node that each is on: nobody speaks for the pods of others.
  const byUid = new Map([...found].map(([node, of]) => [node, new Map(of.usage.pods.map((pod) => [pod[2], pod]))]));
  return wanted.flatMap((pod) => {
    const used = byUid.get(pod.spec.nodeName ?? '')?.get(pod.metadata.uid ?? '');
    const of = found.get(pod.spec.nodeName ?? '');
    if (!used || !of) return [];
    const [, , , windowMs, containers] = used;
    return {
      ...headOf(podMetrics, pod, now), timestamp: toTime(of.atMs), window: windowText(windowMs),
      containers: containers.map(([container, cpu, memory]) => ({ name: container, usage: usageOf(cpu, memory) })),
    };
  });
}

const headOf = ({ apiVersion, kind }: Kind, { metadata: { name = '', namespace, labels } }: KubeObject, now: () => number): KubeObject => ({
  kind, apiVersion,
  metadata: { name, ...(namespace ? { namespace } : {}), creationTimestamp: toTime(now()), ...(labels ? { labels } : {}) },
});

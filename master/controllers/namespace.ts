import { bindings } from '../../shared/kinds/binding.ts';
import { namespaces, type Namespace } from '../../shared/kinds/namespace.ts';
import { pods } from '../../shared/kinds/pod.ts';
import { kinds } from '../../shared/kinds/index.ts';
import type { Kind } from '../../shared/kind.ts';
import { isConflict, isNotFound } from '../../shared/status.ts';
import { defineController, some, type Context } from './controller.ts';
import { removeIfThere } from './ensure.ts';
import { contentConditions, type Remaining } from './namespace-conditions.ts';

/** Namespaces that every cluster has. */
export const systemNamespaces: readonly string[] = ['default', 'kube-system', 'kube-public', 'kube-node-lease'];

/** Deletions under way at a time within one namespace. */
const width = 64;

/** Creates the system's namespaces, and empties those that are being deleted before it lets them go. */
export const namespaceController = defineController({
  name: 'namespace', for: some(namespaces),
  initialKeys: () => systemNamespaces,
  watches: kinds.filter((kind) => kind.namespaced && kind.prefix !== bindings.prefix).map((kind) => ({
    kind,
    // What is left in a namespace that is ending is looked at again with every object that goes.
    keys: (change, { registry }) => (change.type === 'DELETED' && isEnding(registry.find(namespaces, '', change.namespace)) ? [change.namespace] : []),
  })),
  async reconcile(name, context) {
    const namespace = context.registry.find(namespaces, '', name);
    if (!namespace) {
      if (systemNamespaces.includes(name)) await context.registry.create(namespaces, '', { metadata: { name } });
      return;
    }
    if (isEnding(namespace) && namespace.spec.finalizers?.includes('kubernetes')) await finish(namespace, context);
  },
});

const isEnding = (namespace: Namespace | undefined): boolean => namespace?.metadata.deletionTimestamp !== undefined;

async function finish(namespace: Namespace, context: Context): Promise<void> {
  const name = namespace.metadata.name ?? '';
  const errors = await empty(name, context);
  const remaining = remainingIn(name, context);
  if (remaining.length === 0 && errors.length === 0) {
    await finalize(namespace, context);
    return;
  }
  await context.registry.modify(namespaces, '', name, (current) => ({
    ...current, status: { phase: 'Terminating', conditions: contentConditions(current.status.conditions ?? [], remaining, errors, context.clock.now()) },
  }), { subresource: 'status' }).catch(ignoreMissing);
  if (errors.length > 0) throw errors[0];
}

/** Pods first: what they use stays until they have ended (KEP-5080). */
async function empty(namespace: string, context: Context): Promise<Error[]> {
  const errors = await deleteAll(pods as unknown as Kind, namespace, context);
  if (errors.length > 0 || context.registry.store.count(`${pods.prefix}${namespace}/`) > 0) return errors;
  for (const kind of contentKinds(context)) if (kind.prefix !== pods.prefix) errors.push(...await deleteAll(kind, namespace, context));
  return errors;
}

const contentKinds = ({ registry }: Context): Kind[] =>
  registry.kinds.filter((kind) => kind.namespaced && kind.verbs.includes('delete'));

async function deleteAll(kind: Kind, namespace: string, context: Context): Promise<Error[]> {
  const errors: Error[] = [];
  const batch: Promise<unknown>[] = [];
  for (const object of context.registry.all(kind, namespace)) {
    if (object.metadata.deletionTimestamp) continue;
    batch.push(removeIfThere(context.registry, kind, namespace, object.metadata.name ?? '', { propagationPolicy: 'Background' })
      .catch((error: unknown) => { if (!isConflict(error)) errors.push(error as Error); }));
    if (batch.length === width) await Promise.all(batch.splice(0));
  }
  await Promise.all(batch);
  return errors;
}

function remainingIn(namespace: string, context: Context): Remaining[] {
  const remaining: Remaining[] = [];
  for (const kind of contentKinds(context)) {
    const finalizers: string[] = [];
    let count = 0;
    for (const object of context.registry.each(kind, namespace)) {
      count += 1;
      finalizers.push(...object.metadata.finalizers ?? []);
    }
    if (count > 0) remaining.push({ kind, count, finalizers });
  }
  return remaining;
}

/** Takes the `kubernetes` finalizer off; the namespace goes with the last one. */
async function finalize({ metadata }: Namespace, { registry }: Context): Promise<void> {
  const current = registry.find(namespaces, '', metadata.name ?? '');
  if (!current || current.metadata.uid !== metadata.uid) return;
  const finalizers = (current.spec.finalizers ?? []).filter((finalizer) => finalizer !== 'kubernetes');
  await registry.finalize(namespaces, '', metadata.name ?? '', { ...structuredClone(current), spec: { finalizers } }).catch(ignoreMissing);
}

function ignoreMissing(error: unknown): void {
  if (!isNotFound(error)) throw error;
}

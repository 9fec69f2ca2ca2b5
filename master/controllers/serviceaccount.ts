import { namespaces } from '../../shared/kinds/namespace.ts';
import { serviceAccounts } from '../../shared/kinds/serviceaccount.ts';
import { defineController, some, type Context } from './controller.ts';
import { ensure } from './ensure.ts';

const name = 'default';

/** Keeps a service account `default` in every namespace. */
export const serviceAccount = defineController({
  name: 'serviceaccount', for: some(namespaces),
  watches: [{ kind: some(serviceAccounts), keys: (change) => (change.name === name && change.type === 'DELETED' ? [change.namespace] : []) }],
  async reconcile(namespace, context) {
    if (!isActive(namespace, context)) return;
    await ensure(context.registry, serviceAccounts, namespace, name, (current) => (current ? undefined : { metadata: { name } }));
  },
});

/** Exists and is not ending: takes new objects. */
export function isActive(namespace: string, { registry }: Context): boolean {
  const object = registry.find(namespaces, '', namespace);
  return object !== undefined && !object.metadata.deletionTimestamp;
}

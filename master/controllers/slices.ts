import { isDeepStrictEqual } from 'node:util';
import { endpointSlices, type EndpointSlice } from '../../shared/kinds/endpointslice.ts';
import { controllerRef, type KubeObject } from '../../shared/meta.ts';
import { isNotFound } from '../../shared/status.ts';
import { some, type Context } from './controller.ts';
import { removeIfThere } from './ensure.ts';
import { packSlices, type PortGroup, type SliceContent } from './slice-packing.ts';

export const serviceNameLabel = 'kubernetes.io/service-name';
export const managedByLabel = 'endpointslice.kubernetes.io/managed-by';

/** Whose slices these are, and what marks them. */
export interface SliceOwner {
  readonly object: KubeObject;
  /** Value of {@link managedByLabel}. */
  readonly manager: string;
  /** All labels of the slices. */
  readonly labels: Readonly<Record<string, string>>;
}

/** Makes the slices that a controller keeps for an owner hold these endpoints. */
export async function writeSlices(owner: SliceOwner, groups: readonly PortGroup[], context: Context): Promise<void> {
  const existing = slicesOf(owner, context);
  const plan = packSlices(existing, groups);
  const updates = new Map(plan.update.map((content) => [content.name, content]));
  for (const content of plan.create) await create(owner, content, context);
  for (const slice of existing) {
    const name = slice.metadata.name ?? '';
    if (plan.remove.includes(name)) continue;
    const content = updates.get(name);
    if (content || !isDeepStrictEqual(slice.metadata.labels, owner.labels)) await update(owner, slice, content, context);
  }
  for (const name of plan.remove) await removeIfThere(context.registry, some(endpointSlices), owner.object.metadata.namespace ?? '', name);
}

function slicesOf({ object, manager }: SliceOwner, { indexes, registry }: Context): EndpointSlice[] {
  const prefix = `${endpointSlices.prefix}${object.metadata.namespace}/`;
  const found: EndpointSlice[] = [];
  for (const key of indexes.dependents(object.metadata.uid ?? '')) {
    if (!key.startsWith(prefix)) continue;
    const slice = registry.find(endpointSlices, object.metadata.namespace ?? '', key.slice(prefix.length));
    if (slice?.metadata.labels?.[managedByLabel] === manager && !slice.metadata.deletionTimestamp) found.push(slice);
  }
  return found;
}

async function create({ object, labels }: SliceOwner, { ports, endpoints }: SliceContent, context: Context): Promise<void> {
  const slice = await context.registry.create(endpointSlices, object.metadata.namespace ?? '', {
    metadata: { generateName: `${object.metadata.name}-`, labels, ownerReferences: [controllerRef(object)] },
    addressType: 'IPv4', endpoints, ...(ports.length > 0 ? { ports } : {}),
  });
  await context.seen(slice.revision);
}

async function update({ labels }: SliceOwner, slice: EndpointSlice, content: SliceContent | undefined, { registry }: Context): Promise<void> {
  const { namespace = '', name = '' } = slice.metadata;
  try {
    await registry.modify(endpointSlices, namespace, name, (current) => ({
      ...current, metadata: { ...current.metadata, labels }, ...(content ? { endpoints: content.endpoints } : {}),
    }));
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}

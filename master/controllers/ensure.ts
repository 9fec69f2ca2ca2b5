import type { Kind } from '../../shared/kind.ts';
import type { KubeObject } from '../../shared/meta.ts';
import { isNotFound } from '../../shared/status.ts';
import type { DeleteOptions, Stored } from '../registry/types.ts';
import type { Registry } from '../registry/registry.ts';

/**
 * Makes an object be as `make` says: creates it when it is missing, else writes it if it differs. `make` gets the stored
 * state (a private copy), or undefined; when it returns undefined nothing is written.
 */
export async function ensure<T extends KubeObject>(
  registry: Registry, kind: Kind<T>, namespace: string, name: string, make: (current: T | undefined) => unknown,
): Promise<Stored<T> | undefined> {
  if (registry.stored(kind, namespace, name)) return registry.modify(kind, namespace, name, make);
  const document = make(undefined);
  return document === undefined ? undefined : registry.create(kind, namespace, document);
}

/** Deletes an object; false when it is not there. */
export async function removeIfThere(registry: Registry, kind: Kind, namespace: string, name: string, options: DeleteOptions = {}): Promise<boolean> {
  try {
    await registry.delete(kind, namespace, name, options);
    return true;
  } catch (error) {
    if (isNotFound(error)) return false;
    throw error;
  }
}

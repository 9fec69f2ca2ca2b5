import { defaultClassAnnotation, storageClasses } from '../shared/kinds/storageclass.ts';
import { isAlreadyExists } from '../shared/status.ts';
import type { Registry } from './registry/registry.ts';
import { defaultClass } from './registry/volumes.ts';

/**
 * Makes the class that claims without one get, a directory of their pod's node, unless another class is the default or
 * one of this name is there, whatever it is. With `none` nothing is made, and such claims wait for a volume made by hand.
 */
export async function bootstrapStorage(registry: Registry, name: string): Promise<void> {
  if (name === 'none' || defaultClass(registry) || registry.find(storageClasses, '', name)) return;
  try {
    await registry.create(storageClasses, '', {
      metadata: { name, annotations: { [defaultClassAnnotation]: 'true' } },
      provisioner: 'wherry.dev/local-path', volumeBindingMode: 'WaitForFirstConsumer', reclaimPolicy: 'Delete',
    });
  } catch (error) {
    if (!isAlreadyExists(error)) throw error;
  }
}

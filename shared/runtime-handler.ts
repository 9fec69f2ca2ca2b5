import type { Pod } from './kinds/pod.ts';

/**
 * Annotation in which a pod's node is told the handler of its runtime class. The master alone sets it, on what it sends:
 * it is not stored, and what a pod's owner wrote there is dropped.
 */
export const runtimeHandlerAnnotation = 'wherry.io/runtime-handler';

/** Name of the engine's runtime for a pod; undefined for the engine's default. @throws Error when its class is no more */
export function runtimeHandlerOf({ metadata, spec }: Pod): string | undefined {
  const name = spec.runtimeClassName;
  if (!name) return undefined;
  const handler = metadata.annotations?.[runtimeHandlerAnnotation];
  if (!handler) throw new Error(`runtimeclass.node.k8s.io "${name}" not found`);
  return handler;
}

import type { PodTemplateSpec } from './pod-spec.ts';

/** Names of a template's containers as `a,b`: the wide column `Containers`. */
export const containersCell = (template: PodTemplateSpec | undefined): string =>
  (template?.spec.containers ?? []).map((container) => container.name).join(',');

/** Images of a template's containers as `a,b`: the wide column `Images`. */
export const imagesCell = (template: PodTemplateSpec | undefined): string =>
  (template?.spec.containers ?? []).map((container) => container.image ?? '').join(',');

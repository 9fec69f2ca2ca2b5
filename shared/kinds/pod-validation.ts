import type { FieldError } from '../status.ts';
import type { PodTemplateSpec } from './pod-spec.ts';

export function validatePodTemplate(template: PodTemplateSpec, path: string): FieldError[] {
  void template; void path;
  return [];
}

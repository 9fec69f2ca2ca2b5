import type { FieldError } from '../status.ts';
import type { ServiceParts } from './service-spec.ts';

export function validateService(service: ServiceParts): FieldError[] { void service; return []; }
export function validateServiceUpdate(service: ServiceParts, old: ServiceParts): FieldError[] { void service; void old; return []; }

import type { InferOutput } from 'valibot';
import { listMap, map, obj, opt, quantity, req, str } from '../schema.ts';

/** Quantities by resource name, such as `{ cpu: '500m', memory: '1Gi' }`. */
export const ResourceList = map(quantity());
export type ResourceList = InferOutput<typeof ResourceList>;

export const ResourceClaim = obj('core.v1.ResourceClaim', {
  name: req(str(), 'Name of an entry of spec.resourceClaims.'),
  request: opt(str(), 'One request within the claim.'),
}, 'A claim that a container uses.');

export const ResourceRequirements = obj('core.v1.ResourceRequirements', {
  limits: opt(ResourceList, 'The most that may be used.'),
  requests: opt(ResourceList, 'What is set aside; defaults to the limits.'),
  claims: opt(listMap(ResourceClaim, 'name'), 'Claims that are used.'),
}, 'What a container needs and may use.');
export type ResourceRequirements = InferOutput<typeof ResourceRequirements>;

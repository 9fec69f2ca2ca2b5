import { parseQuantity } from '../../shared/quantity.ts';

/** The number that a quantity stands for: `500m` is 0.5, `1Gi` 1073741824. Undefined for none. Stored quantities are well-formed. */
export const amount = (quantity: string | undefined): number | undefined => (quantity ? parseQuantity(quantity) : undefined);

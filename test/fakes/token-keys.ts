import type { TokenKey, TokenKeys } from '../../master/registry/jwt.ts';

/** One key that signs and checks for ever. */
export const oneKey = (key: TokenKey): TokenKeys => ({ signing: key, accepted: () => [key] });

import type { AccountTokens } from '../registry/account-tokens.ts';
import { requestToken } from '../registry/token-request.ts';
import { sendJson } from './answer.ts';
import { readDocument } from './document.ts';
import { noSuchMethod } from './kinds.ts';
import { writeOptions } from './options.ts';
import type { SubresourceHandler } from './subresource.ts';

const requestKind = { kind: 'TokenRequest', apiVersion: 'authentication.k8s.io/v1' };

/** Serves `serviceaccounts/token`: what `kubectl create token` posts to. */
export const tokenRequests = (tokens: AccountTokens): SubresourceHandler => ({
  resource: 'serviceaccounts', subresource: 'token',
  async answer({ x, request: { namespace, name }, options: { registry, clock } }) {
    if (x.info.verb !== 'create') throw noSuchMethod();
    const { document } = await readDocument(x, requestKind);
    const { dryRun = false } = writeOptions(x, 'CreateOptions', 'token');
    sendJson(x, 201, await requestToken({ registry, tokens, now: () => clock.now(), dryRun }, namespace, name, document));
  },
});

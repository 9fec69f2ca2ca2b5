import { identityPath } from '../shared/enrolment.ts';
import { unauthorized } from '../shared/status.ts';
import { sendJson } from './api/answer.ts';
import type { Route } from './api/server.ts';

/** Tells a node that its certificate is good; whether it is, authentication has found out by then. */
export const identityRoute: Route = {
  method: 'GET', path: identityPath,
  handle(x) {
    if (!x.user.groups.includes('system:nodes')) throw unauthorized('this takes the certificate of a node');
    sendJson(x, 200, { user: x.user.name });
  },
};

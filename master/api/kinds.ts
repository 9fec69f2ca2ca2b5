import type { Kind } from '../../shared/kind.ts';
import { StatusError } from '../../shared/status.ts';
import type { ResourceRequest } from './request.ts';

/** Finds kinds by the names in URLs. */
export class KindIndex {
  readonly #byPath: ReadonlyMap<string, Kind>;

  constructor(kinds: readonly Kind[]) {
    this.#byPath = new Map(kinds.map((kind) => [`${kind.apiVersion}/${kind.plural}`, kind]));
  }

  /** The kind of a request. @throws StatusError 404 for a resource that is not served, or not at this scope */
  of({ group, version, resource, namespace, name }: ResourceRequest): Kind {
    const kind = this.#byPath.get(group ? `${group}/${version}/${resource}` : `${version}/${resource}`);
    if (!kind) throw noSuchResource();
    if (namespace && !kind.namespaced) throw noSuchResource();
    if (!namespace && kind.namespaced && name) throw noSuchResource();
    return kind;
  }
}

/** As `NewGenericServerResponse` words a 404. */
export const noSuchResource = (): StatusError =>
  new StatusError(404, 'NotFound', 'the server could not find the requested resource', {});

/** As `NewGenericServerResponse` words a 405. */
export const noSuchMethod = (): StatusError =>
  new StatusError(405, 'MethodNotAllowed', 'the server does not allow this method on the requested resource', {});

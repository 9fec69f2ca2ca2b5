/** The master will not have this node as it is. Trying again soon is of no use. */
export class RefusedError extends Error {}

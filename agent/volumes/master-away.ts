/** There is no token because there is no master to ask. */
export class MasterAwayError extends Error {}

/** A volume cannot be made: the pod waits, with a FailedMount event of this message. */
export class VolumeError extends Error {}

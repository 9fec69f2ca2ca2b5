/** The provisioner that makes volumes as directories of the node where a claim's first pod runs. */
export const localPathProvisioner = 'wherry.dev/local-path';
/** The annotation of a volume that names its provisioner. */
export const provisionedBy = 'pv.kubernetes.io/provisioned-by';

/** This program's version. */
export const version = '0.1.0';
/** The Kubernetes API that it speaks. */
export const kubernetesVersion = { major: '1', minor: '32', gitVersion: `v1.32.4+wherry.${version}` } as const;

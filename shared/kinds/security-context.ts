import type { InferOutput } from 'valibot';
import { bool, int64, list, obj, oneOf, opt, req, str } from '../schema.ts';

const SELinuxOptions = obj('core.v1.SELinuxOptions', {
  user: opt(str(), 'SELinux user.'),
  role: opt(str(), 'SELinux role.'),
  type: opt(str(), 'SELinux type.'),
  level: opt(str(), 'SELinux level.'),
}, 'SELinux label of a process.');

const SeccompProfile = obj('core.v1.SeccompProfile', {
  type: req(oneOf('Unconfined', 'RuntimeDefault', 'Localhost'), 'Which profile applies.'),
  localhostProfile: opt(str(), 'File on the node, with type Localhost.'),
}, 'System calls that a process may make.');

const AppArmorProfile = obj('core.v1.AppArmorProfile', {
  type: req(oneOf('Unconfined', 'RuntimeDefault', 'Localhost'), 'Which profile applies.'),
  localhostProfile: opt(str(), 'Profile loaded on the node, with type Localhost.'),
}, 'AppArmor confinement of a process.');

const WindowsSecurityContextOptions = obj('core.v1.WindowsSecurityContextOptions', {
  gmsaCredentialSpecName: opt(str(), 'Name of the GMSA credential spec.'),
  gmsaCredentialSpec: opt(str(), 'The GMSA credential spec itself.'),
  runAsUserName: opt(str(), 'Windows user of the first process.'),
  hostProcess: opt(bool(), 'Whether it runs as a host process.'),
}, 'Windows settings.');

const Capabilities = obj('core.v1.Capabilities', {
  add: opt(list(str()), 'Capabilities added to the default set.'),
  drop: opt(list(str()), 'Capabilities removed; ALL removes every one.'),
}, 'Changes to the POSIX capabilities.');

const shared = {
  seLinuxOptions: opt(SELinuxOptions, 'SELinux label.'),
  windowsOptions: opt(WindowsSecurityContextOptions, 'Windows settings.'),
  runAsUser: opt(int64(), 'User ID of the first process; the image\'s by default.'),
  runAsGroup: opt(int64(), 'Primary group ID of the first process.'),
  runAsNonRoot: opt(bool(), 'Refuse to start as user 0.'),
  seccompProfile: opt(SeccompProfile, 'System calls allowed.'),
  appArmorProfile: opt(AppArmorProfile, 'AppArmor confinement.'),
};

export const ContainerSecurityContext = obj('core.v1.SecurityContext', {
  ...shared,
  capabilities: opt(Capabilities, 'Capabilities to add and drop.'),
  privileged: opt(bool(), 'Give it the powers of root on the host.'),
  readOnlyRootFilesystem: opt(bool(), 'Mount the root file system read-only.'),
  allowPrivilegeEscalation: opt(bool(), 'Whether a process may gain more privileges than its parent.'),
  procMount: opt(oneOf('Default', 'Unmasked'), 'How /proc is mounted.'),
}, 'Privileges of a container.');
export type ContainerSecurityContext = InferOutput<typeof ContainerSecurityContext>;

const Sysctl = obj('core.v1.Sysctl', {
  name: req(str(), 'Name of the kernel parameter.'),
  value: req(str(), 'Its value.'),
}, 'A kernel parameter.');

export const PodSecurityContext = obj('core.v1.PodSecurityContext', {
  ...shared,
  supplementalGroups: opt(list(int64()), 'Further group IDs of every process.'),
  supplementalGroupsPolicy: opt(oneOf('Merge', 'Strict'), 'Whether groups of the image count too.'),
  fsGroup: opt(int64(), 'Group that owns volumes.'),
  sysctls: opt(list(Sysctl), 'Kernel parameters of the pod\'s namespaces.'),
  fsGroupChangePolicy: opt(oneOf('OnRootMismatch', 'Always'), 'When ownership of volumes is changed.'),
  seLinuxChangePolicy: opt(oneOf('Recursive', 'MountOption'), 'How SELinux labels of volumes are changed.'),
}, 'Privileges of all containers of a pod.');
export type PodSecurityContext = InferOutput<typeof PodSecurityContext>;

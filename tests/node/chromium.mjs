// Unpacks the Chromium that npm's @sparticuz/chromium ships into node_modules/.chromium: the browser, the libraries that
// it links (NSS) and a font (Open Sans). Run once, after the packages are installed.
import { mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { inflate } from '@sparticuz/chromium';

const packed = new URL('../bin/', import.meta.resolve('@sparticuz/chromium'));
// `inflate` unpacks into the folder of temporary files.
process.env.TMPDIR = fileURLToPath(new URL('node_modules/.chromium', import.meta.url));
mkdirSync(process.env.TMPDIR, { recursive: true });
await Promise.all(
  ['chromium.br', 'al2023.tar.br', 'fonts.tar.br'].map((file) => inflate(fileURLToPath(new URL(file, packed)))),
);

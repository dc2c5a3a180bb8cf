// Copies the standard input to a TLS server, and what it sends to the standard output. The arguments
// are the port, the file of authorities, the version and the suite.
'use strict';

const fs = require('node:fs');
const tls = require('node:tls');

const [port, authorities, version, ciphers] = process.argv.slice(2);
const socket = tls.connect({
	host: '127.0.0.1',
	port: Number(port),
	servername: 'localhost',
	ca: fs.readFileSync(authorities),
	minVersion: `TLSv${version}`,
	maxVersion: `TLSv${version}`,
	ciphers,
});

socket.on('error', (error) => {
	console.error(error.message);
	process.exit(1);
});
process.stdin.pipe(socket).pipe(process.stdout);

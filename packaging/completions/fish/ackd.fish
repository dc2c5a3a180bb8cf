# fish completion for ackd(8)

set -l run 'not __fish_contains_opt reload'
set -l reload 'not __fish_contains_opt -s p port set -s t check-config -s T dump-config'

set -l settings \
	name address port path mode backlog keepalive reply framing frame.start frame.end \
	frame.bare_replies frame.length_bytes frame.length_order frame.length_includes_header \
	frame.size greeting ack_prefix ack_suffix reply_text nak nak_text quit log_messages \
	encoding.charset encoding.errors encoding.reply_charset encoding.reply_errors freebind allow \
	deny proxies tls.certificate tls.key tls.client_ca tls.alpn tls.keep_connections \
	tls.min_version workers busy_poll keep_connections limits.max_connections \
	limits.max_connections_per_address limits.max_handshakes limits.max_message limits.max_memory \
	limits.idle_timeout limits.drain_delay limits.drain_timeout log.level log.target log.format \
	log.timestamps metrics.address metrics.port

set -l assignments $settings=

complete -c ackd -f
complete -c ackd -s c -l config -r -F -d 'Configuration file'
complete -c ackd -n $run -s p -l port -x -d 'Port to listen on'
complete -c ackd -n $run -l set -x -a "$assignments" -d 'Set any setting: NAME=VALUE'
complete -c ackd -n $run -s t -l check-config -d 'Check the configuration and exit'
complete -c ackd -n $run -s T -l dump-config -d 'Print the checked configuration with defaults'
complete -c ackd -n $reload -l reload -d 'Make the running ackd reload and wait for the outcome'
complete -c ackd -s h -l help -d 'Print a summary of the options'
complete -c ackd -s V -l version -d 'Print the versions'

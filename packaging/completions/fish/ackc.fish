# fish completion for ackc(1)

# The words before the cursor without options: the command, if there is one, then HOST, PORT, TEXT.
function __ackc_words
    set -l words (commandline -opc)
    set -l value
    for word in $words[2..]
        if set -q value[1]
            set -e value
        else if string match -qr -- '^-[^-]*[wcisWtpdnr]$|^--(timeout|proxy|ca|cert|key|sni|alpn|frame|linger|count|interval|size|wait|warning|critical|certificate-days|deadline|prefix|suffix|connections|threads|depth|duration|rate|file)$' $word
            set value follows
        else if not string match -q -- '-*' $word
            echo -- $word
        end
    end
end

# Tests whether the command is the given one. Only the first word can be a command.
function __ackc_command
    set -l words (commandline -opc)
    contains -- "$words[2]" $argv
end

function __ackc_wants_command
    test (count (commandline -opc)) -eq 1
end

function __ackc_wants_host
    set -l words (__ackc_words)
    __ackc_command send ping load; and set -e words[1]
    not set -q words[1]
end

# For send, text follows HOST, even if it begins with a dash.
function __ackc_wants_option
    __ackc_command ping load; or __ackc_wants_host
end

complete -c ackc -f
complete -c ackc -n __ackc_wants_command -a send -d 'Send text, print the replies'
complete -c ackc -n __ackc_wants_command -a ping -d 'Round-trip times, verified'
complete -c ackc -n __ackc_wants_command -a load -d 'Throughput and latencies'
complete -c ackc -n __ackc_wants_host -a '(__fish_print_hostnames)' -d Host

complete -c ackc -n __ackc_wants_option -s w -l timeout -x -d 'Seconds for connecting and each reply'
complete -c ackc -n __ackc_wants_option -s 4 -d 'IPv4 only'
complete -c ackc -n __ackc_wants_option -s 6 -d 'IPv6 only'
complete -c ackc -n __ackc_wants_option -l proxy -x -a 'v1 v2' -d 'Send a PROXY header first'
complete -c ackc -n __ackc_wants_option -l frame -x -a 'delimited: length: fixed:' -d 'Frame messages and replies'
complete -c ackc -n __ackc_wants_option -l tls -d 'Use TLS'
complete -c ackc -n __ackc_wants_option -l ca -r -F -d 'Certificates to trust'
complete -c ackc -n __ackc_wants_option -l cert -r -F -d 'Certificate of this client'
complete -c ackc -n __ackc_wants_option -l key -r -F -d 'Its key'
complete -c ackc -n __ackc_wants_option -l sni -x -d 'Name to ask for and to verify'
complete -c ackc -n __ackc_wants_option -l alpn -x -d 'Application protocols to offer'
complete -c ackc -n __ackc_wants_option -l insecure -d 'Accept any certificate'
complete -c ackc -n __ackc_wants_option -l json -d 'Print JSON objects, one per line'
complete -c ackc -n __ackc_wants_option -s h -l help -d 'Print a summary of the options'
complete -c ackc -n __ackc_wants_option -s V -l version -d 'Print the versions'

set -l send 'not __ackc_command ping load; and __ackc_wants_host'
set -l ping '__ackc_command ping'
set -l load '__ackc_command load'
set -l both '__ackc_command ping load'

complete -c ackc -n $send -l linger -x -d 'Seconds of silence before the half-close'
complete -c ackc -n $send -l whole -d 'Send standard input as one frame'

complete -c ackc -n $both -s s -l size -x -d 'Bytes, with the line end, without a frame'
complete -c ackc -n $both -l prefix -x -d 'What the server must add before a text'
complete -c ackc -n $both -l suffix -x -d 'What the server must add after a text'

complete -c ackc -n $ping -s c -l count -x -d 'Stop after this number of probes'
complete -c ackc -n $ping -s i -l interval -x -d 'Seconds between probes'
complete -c ackc -n $ping -s W -l wait -x -d 'Seconds for a reply'
complete -c ackc -n $ping -s q -l quiet -d 'Print only the summary'
complete -c ackc -n $ping -s D -l wall-clock -d 'Print the time of day before each line'
complete -c ackc -n $ping -l no-reconnect -d 'End when the connection has ended'
complete -c ackc -n $ping -l new-connection -d 'Use a new connection for each probe'
complete -c ackc -n $ping -l plugin -d 'Print one line for monitoring'
complete -c ackc -n $ping -l warning -x -d 'Ranges MS[,LOSS%], outside of which is a warning'
complete -c ackc -n $ping -l certificate-days -x -d 'Fewest days of the certificate, WARN[,CRIT]'
complete -c ackc -n $ping -l critical -x -d 'Ranges MS[,LOSS%], outside of which is critical'
complete -c ackc -n $ping -s t -l deadline -x -d 'Seconds for everything'

complete -c ackc -n $load -s c -l connections -x -d 'Number of connections'
complete -c ackc -n $load -s t -l threads -x -d 'Number of threads'
complete -c ackc -n $load -s p -l depth -x -d 'Messages in flight on a connection'
complete -c ackc -n $load -s d -l duration -x -d 'Seconds to send'
complete -c ackc -n $load -s n -l count -x -d 'Messages to send'
complete -c ackc -n $load -s r -l rate -x -d 'Messages per second, by a schedule'
complete -c ackc -n $load -s q -l quiet -d 'Print no progress'
complete -c ackc -n $load -l lines -d 'Expect a reply to each line'
complete -c ackc -n $load -l file -r -F -d 'Send the text of the file'
complete -c ackc -n $load -l histogram -d 'Print a histogram of the latencies'

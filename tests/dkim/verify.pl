#!/usr/bin/perl
# verify.pl ZONE-FILE < MESSAGE: prints Mail::DKIM's result for each signature, one a line.
# The keys come from the TXT records of ZONE-FILE, one record a line; nothing is asked of the network.
use strict;
use warnings;

package Zone;
use Net::DNS;

sub new {
    my ( $class, $file ) = @_;
    open( my $lines, '<', $file ) or die "$file: $!\n";
    my %records = map { lc( $_->name ) => $_ } map { chomp; Net::DNS::RR->new($_) } <$lines>;
    return bless { records => \%records }, $class;
}

sub send {
    my ( $self, $name, $type ) = @_;
    my $reply = Net::DNS::Packet->new( $name, $type );
    my $record = $self->{records}{ lc $name };
    $reply->header->rcode( $record ? 'NOERROR' : 'NXDOMAIN' );
    $reply->push( answer => $record ) if $record;
    return $reply;
}

sub errorstring { return 'NOERROR' }

package main;
use Mail::DKIM::Verifier;
use Mail::DKIM::DNS;

Mail::DKIM::DNS::resolver( Zone->new( $ARGV[0] ) );
binmode STDIN;
my $verifier = Mail::DKIM::Verifier->new();
$verifier->PRINT( do { local $/; <STDIN> } );
$verifier->CLOSE();
print $_->algorithm, ' ', $_->result_detail, "\n" for $verifier->signatures;

package braidmq.interop;

/** A broker that someone else started. */
record ForeignKafka(String bootstrap) implements KafkaBroker {
    @Override
    public boolean isApache() {
        return false;
    }

    @Override
    public boolean canBeKilled() {
        return false;
    }

    /** It has no readers of another protocol. */
    @Override
    public long decodedBatches() {
        return 0;
    }

    @Override
    public void kill() {
        throw new UnsupportedOperationException("this broker belongs to someone else");
    }

    @Override
    public void restart() {
        throw new UnsupportedOperationException("this broker belongs to someone else");
    }

    @Override
    public void close() {
        // It goes on as it was found.
    }
}

package braidmq.interop;

import java.time.Duration;
import java.util.concurrent.Callable;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Supplier;

/** Waits for conditions with a deadline. Where an event can be had (a latch), wait for the event instead. */
public final class Await {
    private Await() {
    }

    /**
     * Asks every 20 ms until {@code condition} holds. An exception counts as "not yet".
     *
     * @throws AssertionError after {@code limit}, with {@code what} and the last exception
     */
    public static void until(String what, Duration limit, Callable<Boolean> condition) {
        until(() -> what, limit, condition);
    }

    /** As above; the text is made when the wait has failed, so that it can say how far it came. */
    public static void until(Supplier<String> what, Duration limit, Callable<Boolean> condition) {
        long deadline = System.nanoTime() + limit.toNanos();
        Exception last = null;
        do {
            try {
                if (condition.call()) {
                    return;
                }
                last = null;
            } catch (Exception e) {
                last = e;
            }
            LockSupport.parkNanos(Duration.ofMillis(20).toNanos());
        } while (System.nanoTime() < deadline);
        throw new AssertionError("not within " + limit.toSeconds() + " s: " + what.get(), last);
    }
}
